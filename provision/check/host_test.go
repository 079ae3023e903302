package check_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision/check"
)

// A host is the machine that runs the test, with the given shell and PATH. Checks
// change nothing on it.
type host struct {
	bake.Machine
	shell []string
	path  string
}

func (h host) Run(ctx context.Context, cmd *bake.Cmd) error {
	args := append(h.shell[1:len(h.shell):len(h.shell)], "-c", cmd.Line)
	c := exec.CommandContext(ctx, h.shell[0], args...)
	c.Env = []string{"PATH=" + h.path}
	c.Stdin = strings.NewReader("an input that no check should see\n")
	c.Stdout = cmd.Stdout
	return c.Run()
}

// shells returns hosts with /bin/sh, with bash, and with BusyBox and only its own
// commands.
func shells(t *testing.T) map[string]host {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("requires Linux")
	}
	all := map[string]host{"sh": {shell: []string{"/bin/sh"}, path: os.Getenv("PATH")}}
	if bash, err := exec.LookPath("bash"); err == nil {
		all["bash"] = host{shell: []string{bash}, path: os.Getenv("PATH")}
	}
	if busybox, err := exec.LookPath("busybox"); err == nil {
		bin := t.TempDir()
		list, err := exec.CommandContext(t.Context(), busybox, "--list").Output()
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(string(list)) {
			if err := os.Symlink(busybox, filepath.Join(bin, name)); err != nil {
				t.Fatal(err)
			}
		}
		all["busybox"] = host{shell: []string{busybox, "sh"}, path: bin}
	} else {
		t.Run("busybox", func(t *testing.T) { testenv.Need(t, "busybox") })
	}
	return all
}

// problemsOf runs tests on m and returns the problems.
func problemsOf(t *testing.T, m bake.Machine, tests ...check.Test) []string {
	t.Helper()
	err := check.All(tests...).Check(t.Context(), m)
	failed, ok := errors.AsType[*check.FailedError](err)
	if err != nil && !ok {
		t.Fatal(err)
	}
	var problems []string
	if ok {
		for _, f := range failed.Failures {
			problems = append(problems, f.Problem)
		}
	}
	return problems
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "it's a file")
	const text = "first line\nport = 80\n$HOME -e *\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	digest := strings.ToUpper(hex.EncodeToString(sum[:]))
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Base(file), link); err != nil {
		t.Fatal(err)
	}
	for name, m := range shells(t) {
		t.Run(name, func(t *testing.T) {
			if got := problemsOf(t, m, check.File{Path: link, Mode: 0o640}); got != nil {
				t.Errorf("problems = %q, want none", got)
			}
			if got := problemsOf(t, m, check.File{Path: file, Contains: "p.rt"}); len(got) != 1 {
				t.Errorf("problems = %q, want 1", got)
			}
			if got := problemsOf(t, m,
				check.File{Path: file}, check.File{Path: file, Mode: 0o640, Contains: "$HOME -e *", Matches: `^port *= *[0-9]+$`, SHA256: digest},
				check.File{Path: dir, Dir: true}, check.File{Path: filepath.Join(dir, "missing"), Absent: true},
			); got != nil {
				t.Errorf("problems = %q, want none", got)
			}
			got := problemsOf(t, m,
				check.File{Path: filepath.Join(dir, "missing"), Mode: 0o644}, check.File{Path: file, Absent: true}, check.File{Path: filepath.Join(dir, "dangling"), Absent: true},
				check.File{Path: file, Dir: true}, check.File{Path: file, Mode: fs.ModeSetuid | 0o755, Owner: "nobody-at-all"},
				check.File{Path: file, Contains: "port=80"}, check.File{Path: file, Matches: "^port$"}, check.File{Path: file, SHA256: strings.Repeat("0", 64)},
			)
			owner := "root"
			if len(got) > 5 {
				owner = strings.Fields(got[5])[3]
			}
			want := []string{
				"does not exist or is not accessible to the login", "exists", "exists", "is not a directory",
				"the mode is 640, not 4755", "the owner is " + owner + " not nobody-at-all",
				"does not contain: port=80", "no line matches: ^port$", "the digest is " + strings.ToLower(digest) + ", not " + strings.Repeat("0", 64),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	for name, m := range shells(t) {
		t.Run(name, func(t *testing.T) {
			if got := problemsOf(t, m,
				check.Command{Line: "true"}, check.Command{Line: "exit 3", Status: 3}, check.Command{Line: "echo it\\'s; echo 'more *' >&2", Contains: "more *", Matches: "^it's$"},
				check.Command{Line: `test -z "$(cat)"`},
			); got != nil {
				t.Errorf("problems = %q, want none", got)
			}
			got := problemsOf(t, m,
				check.Command{Line: "echo one; echo two >&2; exit 3"}, check.Command{Line: "if"}, check.Command{Line: "echo ab", Contains: "a*b", Matches: "^b"},
				check.Command{Line: "echo 'bakestone-check done'; exit 1"},
			)
			if len(got) != 5 || got[0] != "exit status 3, not 0: one two" || !strings.HasPrefix(got[1], "exit status 2, not 0: ") ||
				got[2] != "the output does not contain: a*b" || got[3] != "the output does not match: ^b" || !strings.HasSuffix(got[4], "bakestone-check done") {
				t.Errorf("problems = %q", got)
			}
		})
	}
}

func TestPortsAndHTTP(t *testing.T) {
	testenv.Need(t, "curl") // or wget
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.Error(w, "not here", http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "<h1>\nWelcome\n</h1>\n")
	}))
	defer server.Close()
	secure := httptest.NewUnstartedServer(server.Config.Handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // a client rejects the certificate
	secure.StartTLS()
	defer secure.Close()
	var config net.ListenConfig
	tcp6, err := config.Listen(t.Context(), "tcp6", "[::1]:0")
	if err != nil {
		t.Skip(err)
	}
	defer tcp6.Close()
	udp, err := config.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	gone, err := config.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := portOf(t, gone.Addr())
	_ = gone.Close()
	open, open6, openUDP := portOf(t, server.Listener.Addr()), portOf(t, tcp6.Addr()), portOf(t, udp.LocalAddr())
	for name, m := range shells(t) {
		t.Run(name, func(t *testing.T) {
			if got := problemsOf(t, m,
				check.Port{Number: open}, check.Port{Number: open6}, check.Port{Number: openUDP, UDP: true}, check.Port{Number: closed, Closed: true},
				check.HTTP{URL: server.URL, Contains: "Welcome", Matches: "^Wel[a-z]+$"}, check.HTTP{URL: server.URL + "/x", Status: 404},
			); got != nil {
				t.Errorf("problems = %q, want none", got)
			}
			got := problemsOf(t, m,
				check.Port{Number: closed}, check.Port{Number: open, Closed: true}, check.Port{Number: open, UDP: true},
				check.HTTP{URL: server.URL + "/x"}, check.HTTP{URL: server.URL, Status: 301, Contains: "Goodbye", Matches: "^come"},
				check.HTTP{URL: fmt.Sprintf("http://127.0.0.1:%d/", closed)},
			)
			if len(got) != 8 || !strings.HasPrefix(got[7], "no response: ") {
				t.Fatalf("problems = %q, want 8", got)
			}
			want := []string{
				"nothing is listening", "a process is listening", "nothing is listening", "the status is 404, not 200",
				"the status is 200, not 301", "the body does not contain: Goodbye", "the body does not match: ^come",
			}
			if diff := cmp.Diff(want, got[:7]); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if name == "busybox" {
				return // its wget may not support TLS
			}
			if got := problemsOf(t, m, check.HTTP{URL: secure.URL, InsecureSkipVerify: true, Contains: "Welcome"}, check.HTTP{URL: secure.URL}); len(got) != 1 {
				t.Errorf("problems = %q, want 1 of TLS", got)
			}
		})
	}
}

func portOf(t *testing.T, a net.Addr) int {
	t.Helper()
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.Port
	case *net.UDPAddr:
		return a.Port
	}
	t.Fatalf("%v has no port", a)
	return 0
}

func TestUsersAndSysctls(t *testing.T) {
	for name, m := range shells(t) {
		t.Run(name, func(t *testing.T) {
			if got := problemsOf(t, m,
				check.User{Name: "root", Group: "root", Groups: []string{"root"}, Home: "/root"}, check.User{Name: "nobody-at-all", Absent: true},
				check.Sysctl{Name: "kernel.ostype", Value: " Linux "},
			); got != nil {
				t.Errorf("problems = %q, want none", got)
			}
			got := problemsOf(t, m,
				check.User{Name: "nobody-at-all"}, check.User{Name: "root", Absent: true},
				check.User{Name: "root", UID: 7, Group: "wheel", Groups: []string{"sales"}, Home: "/home/root", Shell: "/bin/none"},
				check.Sysctl{Name: "kernel.ostype", Value: "Hurd"}, check.Sysctl{Name: "kernel.nosuch", Value: "1"},
			)
			if len(got) != 9 || !strings.HasPrefix(got[5], "the shell is /") || !strings.HasSuffix(got[5], ", not /bin/none") {
				t.Fatalf("problems = %q, want 9", got)
			}
			got[5] = "the shell"
			want := []string{
				"does not exist", "exists", "the UID is 0, not 7", "the group is root, not wheel", "the home is /root, not /home/root", "the shell",
				"is not a member of sales", "value is Linux, not Hurd", "the running kernel has no such parameter",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// Uses Debian's package dash if the test runs on Debian.
func TestPackageOnDebian(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "dpkg-query", "-W", "-f", "${Version}", "dash").Output()
	if err != nil {
		t.Skip("requires Debian")
	}
	version := string(out)
	major, _, _ := strings.Cut(version, ".")
	upstream, _, _ := strings.Cut(version, "-")
	m := shells(t)["sh"]
	if got := problemsOf(t, m,
		check.Package{Name: "dash"}, check.Package{Name: "dash", Version: version}, check.Package{Name: "dash", Version: upstream}, check.Package{Name: "dash", Version: major + ".*"},
		check.Package{Name: "no-such-package", Absent: true},
	); got != nil {
		t.Errorf("problems = %q, want none", got)
	}
	got := problemsOf(t, m, check.Package{Name: "dash", Version: "99*"}, check.Package{Name: "dash", Absent: true}, check.Package{Name: "no-such-package"}, check.Package{Name: "no-such-package", Version: "1"})
	want := []string{"the version is " + version, "is installed: " + version, "is not installed", "is not installed"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
