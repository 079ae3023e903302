package check_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision/check"
)

func TestFailedError(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.OnPrefix("# check: file /a, port 80, command: x", baketest.Reply{
		Stdout: "noise\nbakestone-check 0 the mode is 600, not 644\nbakestone-check 0 the owner is root, not app\nbakestone-check 2 exit status 1, not 0: why \n" + check.Passed,
	})
	checks := check.All(check.File{Path: "/a"}, check.Port{Number: 80}, check.Command{Line: "x\ny"})
	err := checks.Check(t.Context(), m)
	failed, ok := errors.AsType[*check.FailedError](err)
	if !ok {
		t.Fatalf("Check() = %v, want a *FailedError", err)
	}
	want := []check.Failure{
		{Test: "file /a", Problem: "the mode is 600, not 644"}, {Test: "file /a", Problem: "the owner is root, not app"},
		{Test: "command: x", Problem: "exit status 1, not 0: why"},
	}
	if diff := cmp.Diff(want, failed.Failures); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	const text = "2 of 3 checks failed\n\tfile /a: the mode is 600, not 644\n\tfile /a: the owner is root, not app\n\tcommand: x: exit status 1, not 0: why"
	if err.Error() != text {
		t.Errorf("Error() =\n%v\nwant\n%s", err, text)
	}
	if calls := m.Calls(); len(calls) != 1 || calls[0].Sudo {
		t.Errorf("calls = %v, want one", calls)
	}
	m.OnPrefix("#", baketest.Reply{Stdout: check.Passed})
	if err := check.All(check.Port{Number: 1}).AsRoot().Provision(t.Context(), m); err != nil || !m.Calls()[1].Sudo {
		t.Errorf("Provision() as root = %v, want nil from a call with Sudo", err)
	}
}

// A script that did not run to its end is an error, but not a *FailedError.
func TestIncompleteOutput(t *testing.T) {
	for name, reply := range map[string]baketest.Reply{
		"silent": {}, "cut short": {Stdout: "bakestone-check 0 x\n"}, "failed": {Status: 2, Stdout: check.Passed}, "lost": {Err: bake.ErrDisconnected},
	} {
		m := baketest.NewMachine(nil)
		m.OnPrefix("# check", reply)
		err := check.All(check.Port{Number: 1}).Within(time.Hour).Check(t.Context(), m)
		if _, ok := errors.AsType[*check.FailedError](err); err == nil || ok || len(m.Calls()) != 1 {
			t.Errorf("%s: Check() = %v after %d calls, want an error other than *FailedError after 1", name, err, len(m.Calls()))
		}
	}
}

func TestWithin(t *testing.T) {
	bad := baketest.Reply{Stdout: "bakestone-check 0 nothing is listening\n" + check.Passed}
	good := baketest.Reply{Stdout: check.Passed}
	for name, test := range map[string]struct {
		times int // failing runs
		limit time.Duration
		took  time.Duration
		want  string
	}{
		"at once":  {0, time.Minute, 0, ""},
		"later":    {5, time.Minute, 10 * time.Second, ""},
		"too late": {100, 5 * time.Second, 5 * time.Second, "1 of 1 checks failed after 5s\n\tport 1: nothing is listening"},
		"no limit": {1, 0, 0, "1 of 1 checks failed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := baketest.NewMachine(nil)
				if bad.Times = test.times; test.times > 0 {
					m.OnPrefix("# check", bad)
				}
				m.OnPrefix("# check", good)
				start := time.Now()
				err := check.All(check.Port{Number: 1}).Within(test.limit).Check(t.Context(), m)
				if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
					t.Errorf("Check() = %v, want %q", err, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("Check() took %v, want %v", took, test.took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("canceled by test")
		ctx, cancel := context.WithCancelCause(t.Context())
		m := baketest.NewMachine(nil)
		bad.Times = 0
		m.OnPrefix("# check", bad)
		time.AfterFunc(time.Second, func() { cancel(cause) })
		err := check.All(check.Port{Number: 1}).Within(time.Hour).Check(ctx, m)
		if _, ok := errors.AsType[*check.FailedError](err); !errors.Is(err, cause) || !ok {
			t.Errorf("Check() = %v, want %v and a *FailedError", err, cause)
		}
	})
}

// In a build, Checks are a provisioner and a check. The image is removed if a check
// fails.
func TestChecksInBuild(t *testing.T) {
	builder := baketest.NewBuilder(&baketest.BuilderOptions{PrepareMachine: func(m *baketest.Machine) {
		m.OnPrefix("# check: port 80", baketest.Reply{Stdout: "bakestone-check 0 nothing is listening\n" + check.Passed})
		m.OnPrefix("# check: ", baketest.Reply{Stdout: check.Passed})
	}})
	img := &bake.Image{
		Name: "web", Builder: builder,
		Provisioners: []bake.Provisioner{check.All(check.File{Path: "/etc/os-release"})},
		Checks:       []bake.Check{check.All(check.Port{Number: 80})},
	}
	_, err := bake.Bake(t.Context(), nil, img)
	if _, ok := errors.AsType[*check.FailedError](err); !ok || !strings.Contains(fmt.Sprint(err), "check 1: port 80") {
		t.Errorf("Bake() = %v, want the failure of port 80", err)
	}
	if left := builder.Existing(); len(left) != 0 {
		t.Errorf("Existing() = %q, want none", left)
	}
	img.Checks = nil
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Error(err)
	}
}

func TestChecksValidate(t *testing.T) {
	for name, test := range map[string]struct {
		checks check.Checks
		want   []string
	}{
		"nothing": {check.All(), []string{"Checks: is empty"}},
		"nil":     {check.All(nil).Within(-1), []string{"Checks.Within", "Checks[0]: is nil"}},
		"file": {check.All(check.File{Path: "x", Absent: true, Mode: fs.ModeDir, Contains: "a\nb"}, check.File{Path: "/x", Dir: true, SHA256: "zz"}), []string{
			"Checks[0]: File.Contains", "File.Path", "File.Absent", "File.Mode", "Checks[1]: File.Dir", "File.SHA256",
		}},
		"command": {check.All(check.Command{Status: 256, Matches: "\x00"}), []string{"Command.Matches", "Command.Line", "Command.Status"}},
		"port":    {check.All(check.Port{}, check.Port{Number: 70000}), []string{"Checks[0]: Port.Number", "Checks[1]: Port.Number"}},
		"HTTP":    {check.All(check.HTTP{URL: "localhost:80", Status: 7, Matches: "a\nb"}), []string{"HTTP.Matches", "HTTP.URL", "HTTP.Status"}},
		"service": {check.All(check.Service{Name: "-x", Enabled: true, Disabled: true}), []string{"Service.Name", "Service.Enabled"}},
		"package": {check.All(check.Package{Name: "$(id)", Version: "a b", Absent: true}), []string{"Package.Name", "Package.Absent", "Package.Version"}},
		"user":    {check.All(check.User{Absent: true, Shell: "/bin/sh"}), []string{"User.Name", "User.Absent"}},
		"sysctl":  {check.All(check.Sysctl{Name: "../x"}), []string{"Sysctl.Name", "Sysctl.Value"}},
		"goss":    {check.All(check.Goss{}, check.Goss{Path: "missing", FS: fstest.MapFS{}}), []string{"Checks[0]: Goss.Path", "Checks[1]: Goss.Path"}},
	} {
		err := test.checks.Validate()
		if err == nil {
			t.Errorf("%s: Validate() = nil", name)
			continue
		}
		if got := len(strings.Split(err.Error(), "\n")); got != len(test.want) {
			t.Errorf("%s: Validate() returned %d errors, want %d:\n%v", name, got, len(test.want), err)
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: Validate() lacks %q:\n%v", name, part, err)
			}
		}
		m := baketest.NewMachine(nil)
		if got := test.checks.Check(t.Context(), m); got == nil || len(m.Calls()) > 0 {
			t.Errorf("%s: Check() = %v, want an error and no calls", name, got)
		}
	}
}

func TestChecksInputs(t *testing.T) {
	sum := func(c check.Checks) string {
		t.Helper()
		in, err := bake.InputsOf(c)
		if err != nil {
			t.Fatal(err)
		}
		return in.Sum()
	}
	goss := func(text string) check.Goss {
		return check.Goss{Path: "goss.yaml", FS: fstest.MapFS{"goss.yaml": {Data: []byte(text)}}}
	}
	base := sum(check.All(check.Port{Number: 80}, goss("a")))
	if base != sum(check.All(check.Port{Number: 80}, goss("a")).Within(time.Hour)) {
		t.Error("the limit is an input")
	}
	for name, other := range map[string]check.Checks{
		"another port": check.All(check.Port{Number: 81}, goss("a")), "another file": check.All(check.Port{Number: 80}, goss("b")),
		"one less": check.All(check.Port{Number: 80}), "root": check.All(check.Port{Number: 80}, goss("a")).AsRoot(),
	} {
		if sum(other) == base {
			t.Errorf("%s is not an input", name)
		}
	}
}

func ExampleAll() {
	m := baketest.NewMachine(nil)
	m.OnPrefix("# check: ", baketest.Reply{Stdout: "bakestone-check 1 status is inactive, not active\n" + check.Passed})

	err := check.All(
		check.File{Path: "/etc/nginx/nginx.conf", Mode: 0o644},
		check.Service{Name: "nginx", Enabled: true},
		check.Port{Number: 80},
	).Check(context.Background(), m)

	fmt.Println(err)
	// Output:
	// 1 of 3 checks failed
	// 	service nginx: status is inactive, not active
}

// A problem for want of root's permissions names AsRoot, which is not needed if the
// tests run as root.
func TestDeniedNamesAsRoot(t *testing.T) {
	tests := check.All(check.Command{Line: "cat /etc/key"}, check.File{Path: "/etc/key", Contains: "x"}, check.File{Path: "/etc/motd", Contains: "x"})
	const out = "bakestone-check 0 exit status 1, not 0: cat: /etc/key: Permission denied\n" +
		"bakestone-check 1 is not readable by the login\nbakestone-check 2 does not contain: x\n" + check.Passed
	for _, c := range []check.Checks{tests, tests.AsRoot()} {
		m := baketest.NewMachine(nil)
		m.OnPrefix("# check: ", baketest.Reply{Stdout: out})
		err := c.Check(t.Context(), m)
		failed, ok := errors.AsType[*check.FailedError](err)
		if !ok || len(failed.Failures) != 3 {
			t.Fatalf("Check() = %v, want three failures", err)
		}
		for i, f := range failed.Failures {
			want := i < 2 && !m.Calls()[0].Sudo
			if got := strings.HasSuffix(f.Problem, " (use Checks.AsRoot if it needs root)"); got != want {
				t.Errorf("Sudo %v: problem %q, want a remedy: %v", m.Calls()[0].Sudo, f.Problem, want)
			}
		}
	}
}
