package check_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision/check"
)

// boxed is a fake machine in memory.
type boxed struct {
	bake.Machine
	host *sandbox.Host
}

func (b boxed) Run(ctx context.Context, cmd *bake.Cmd) error {
	stdout := cmd.Stdout
	if stdout == nil {
		stdout = io.Discard
	}
	status, err := b.host.Exec(ctx, sandbox.Exec{Line: cmd.Line, Stdout: stdout})
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d", status)
	}
	return err
}

// embedded returns a machine in memory with the given commands.
func embedded(t *testing.T, commands map[string]sandbox.Command, missing ...string) boxed {
	t.Helper()
	h, err := sandbox.Boot(t.Context(), sandbox.Options{Commands: commands, Missing: missing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return boxed{baketest.NewMachine(nil), h}
}

// answers returns a command that prints the text for its arguments. For others it
// prints that for "" and exits with status.
func answers(by map[string]string, status int) sandbox.Command {
	return func(_ context.Context, p *sandbox.Process) int {
		key := strings.Join(p.Args[1:], " ")
		text, ok := by[key]
		if !ok {
			_, _ = fmt.Fprintln(p.Stdout, by[""])
			return status
		}
		_, _ = fmt.Fprintln(p.Stdout, text)
		return 0
	}
}

func TestServices(t *testing.T) {
	m := embedded(t, map[string]sandbox.Command{"systemctl": answers(map[string]string{
		"is-active nginx": "active", "is-enabled nginx": "enabled", "is-enabled dbus": "static", "": "inactive",
	}, 3)})
	if got := problemsOf(t, m, check.Service{Name: "nginx", Enabled: true}, check.Service{Name: "dbus", Stopped: true, Enabled: true}, check.Service{Name: "cron", Stopped: true, Disabled: true}); got != nil {
		t.Errorf("problems = %q, want none", got)
	}
	got := problemsOf(t, m, check.Service{Name: "nginx", Stopped: true, Disabled: true}, check.Service{Name: "cron", Enabled: true})
	if diff := cmp.Diff([]string{"is active", "is enabled", "status is inactive, not active", "is inactive, not enabled"}, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestPackageManagers(t *testing.T) {
	for name, commands := range map[string]map[string]sandbox.Command{
		"rpm": {"rpm": answers(map[string]string{
			`-q --qf %{VERSION}-%{RELEASE}\n nginx`: "1.24.0-2.el9", `-q --qf %{VERSION}-%{RELEASE}\n kernel`: "5.1-1\n5.2-1", "": "package x is not installed",
		}, 1)},
		"apk": {"apk": answers(map[string]string{"info -v": "nginx-1.24.0-r2\nkernel-5.1-r1\nkernel-5.2-r1\nnginx-mod-http-1.2-r1"}, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			m := embedded(t, commands)
			if got := problemsOf(t, m,
				check.Package{Name: "nginx", Version: "1.24.0"}, check.Package{Name: "nginx", Version: "1.*"}, check.Package{Name: "kernel", Version: "5.2"},
				check.Package{Name: "other", Absent: true}, check.Package{Name: "nginx-mod", Absent: true},
			); got != nil {
				t.Errorf("problems = %q, want none", got)
			}
			if got := problemsOf(t, m, check.Package{Name: "nginx", Version: "1.2"}, check.Package{Name: "other"}); len(got) != 2 || !strings.HasPrefix(got[0], "the version is 1.24.0-") {
				t.Errorf("problems = %q, want 2", got)
			}
		})
	}
}

func TestGoss(t *testing.T) {
	goss := check.Goss{Path: "goss.yaml", FS: fstest.MapFS{"goss.yaml": {Data: []byte("port:\n  tcp:80: {listening: true} # it's\n")}}}
	var given string
	status := 0
	m := embedded(t, map[string]sandbox.Command{"goss": func(_ context.Context, p *sandbox.Process) int {
		text, err := io.ReadAll(p.Stdin)
		if err != nil || strings.Join(p.Args, " ") != "goss -g - validate --no-color" {
			t.Errorf("goss called as %q (error %v)", p.Args, err)
		}
		given = string(text)
		_, _ = fmt.Fprintln(p.Stdout, "Port: tcp:80: listening:\nExpected false to equal true")
		return status
	}})
	if got := problemsOf(t, m, goss); got != nil || given != "port:\n  tcp:80: {listening: true} # it's\n" {
		t.Errorf("problems = %q, want none; input of goss = %q", got, given)
	}
	status = 1
	if got := problemsOf(t, m, goss); len(got) != 1 || got[0] != "Port: tcp:80: listening: Expected false to equal true" {
		t.Errorf("problems = %q, want 1", got)
	}
	if got := problemsOf(t, embedded(t, nil), goss); len(got) != 1 || !strings.HasPrefix(got[0], "goss not found") {
		t.Errorf("problems = %q, want 1", got)
	}
}

// Only sockets in state 0A count. Ports have leading zeros in the table.
func TestPortKernelTable(t *testing.T) {
	m := embedded(t, nil)
	const table = "  sl  local_address rem_address   st tx_queue\n" +
		"   0: 0100007F:0050 00000000:0000 0A 00000000\n   1: 0100007F:01BB 0100007F:9C40 01 00000000\n"
	if err := m.host.FS().MkdirAll("/proc/net", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := m.host.FS().WriteFile("/proc/net/tcp", []byte(table), 0o444); err != nil {
		t.Fatal(err)
	}
	if got := problemsOf(t, m, check.Port{Number: 80}, check.Port{Number: 443, Closed: true}, check.Port{Number: 5, Closed: true}); got != nil {
		t.Errorf("problems = %q, want none", got)
	}
}

// Tests fall back to other tools or report that none is installed.
func TestMissingTools(t *testing.T) {
	bare := func(commands map[string]sandbox.Command, missing ...string) boxed {
		m := embedded(t, commands, missing...)
		if err := m.host.FS().RemoveAll("/proc/net"); err != nil {
			t.Fatal(err)
		}
		return m
	}
	ss := map[string]sandbox.Command{"ss": answers(map[string]string{"-ltn": "LISTEN 0 5 0.0.0.0:80 0.0.0.0:*\nLISTEN 0 5 [::]:443 [::]:*"}, 1)}
	if got := problemsOf(t, bare(ss), check.Port{Number: 80}, check.Port{Number: 443}, check.Port{Number: 44, Closed: true}); got != nil {
		t.Errorf("problems = %q, want none", got)
	}
	got := problemsOf(t, bare(nil, "ss", "curl", "wget", "systemctl"), check.Port{Number: 80}, check.HTTP{URL: "http://localhost"}, check.Service{Name: "x"}, check.File{Path: "/etc/passwd", Owner: "root", Group: "root"})
	want := []string{"cannot determine: /proc/net/tcp and ss are missing", "curl and wget not found"}
	if len(got) != 3 || !cmp.Equal(want, got[:2]) {
		t.Errorf("problems = %q, want 3", got)
	}
}
