package posixsh_test

import (
	"io/fs"
	"os/exec"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

func TestQuote(t *testing.T) {
	if got, want := posixsh.Quote(`it's $HOME`), `'it'"'"'s $HOME'`; got != want {
		t.Errorf("Quote = %s, want %s", got, want)
	}
}

func TestWords(t *testing.T) {
	if got := posixsh.Words(); got != "" {
		t.Errorf("Words() = %q, want nothing", got)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	words := []string{"", "a b", `it's "so"`, "$HOME `id` \\", "*", "-n", "two\nlines"}
	out, err := exec.CommandContext(t.Context(), sh, "-c", "printf '%s|'"+posixsh.Words(words...)).Output()
	want := ""
	for _, word := range words {
		want += word + "|"
	}
	if err != nil || string(out) != want {
		t.Errorf("sh reads Words as %q, %v, want %q", out, err, want)
	}
}

func TestMode(t *testing.T) {
	for mode, want := range map[fs.FileMode]string{
		0:                              "0",
		0o644:                          "644",
		fs.ModeDir | 0o755:             "755",
		fs.ModeSetuid | 0o755:          "4755",
		fs.ModeSetgid | 0o750:          "2750",
		fs.ModeDir | fs.ModeSticky | 7: "1007",
	} {
		if got := posixsh.Mode(mode); got != want {
			t.Errorf("Mode(%v) = %s, want %s", mode, got, want)
		}
	}
}

func TestSysctlFile(t *testing.T) {
	for name, want := range map[string]string{
		"vm.swappiness":            "/proc/sys/vm/swappiness",
		"net/ipv4/conf/eth0.1/rp":  "/proc/sys/net/ipv4/conf/eth0.1/rp",
		"net.ipv4.conf.eth0/1.mtu": "/proc/sys/net/ipv4/conf/eth0.1/mtu",
		"kernel/random/boot_id":    "/proc/sys/kernel/random/boot_id",
		"hostname":                 "/proc/sys/hostname",
	} {
		if got := posixsh.SysctlFile(name); got != want {
			t.Errorf("SysctlFile(%q) = %s, want %s", name, got, want)
		}
	}
}

func TestUnitName(t *testing.T) {
	long := strings.Repeat("a", 247)
	for name, want := range map[string]string{
		"nginx": "nginx.service", "fstrim.timer": "fstrim.timer", "getty@tty1": "getty@tty1.service", "a@.socket": "a@.socket",
		`dev-disk-by\x2dlabel.swap`: `dev-disk-by\x2dlabel.swap`, "php8.1-fpm": "php8.1-fpm.service",
		"org.a:b_c": "org.a:b_c.service", "a@b@c": "a@b@c.service", long: long + ".service",
		"": "", "-x": "", "a b": "", "a/b": "", "a+b": "", "@a": "", ".service": "", "a\n": "", "é": "", "a*": "", long + "b": "",
	} {
		full, ok := posixsh.UnitName(name)
		if ok != (want != "") || ok && full != want {
			t.Errorf("UnitName(%q) = %q, %v, want %q", name, full, ok, want)
		}
	}
}
