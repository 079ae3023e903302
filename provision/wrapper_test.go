package provision_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/provision"
)

var errBroken = errors.New("broken")

// failingTimes fails so many times.
func failingTimes(times int) bake.Provisioner {
	return bake.ProvisionFunc{Name: "flaky", Do: func(context.Context, bake.Machine) error {
		if times--; times >= 0 {
			return errBroken
		}
		return nil
	}}
}

// endless goes on until its context ends.
var endless = bake.ProvisionFunc{Name: "endless", Do: func(ctx context.Context, _ bake.Machine) error { //nolint:gochecknoglobals // a value that nobody changes
	<-ctx.Done()
	return context.Cause(ctx)
}}

func TestRetry(t *testing.T) {
	for name, test := range map[string]struct {
		retry provision.Retry
		took  time.Duration
		want  string
		said  []string
	}{
		"at once":       {provision.Retry{Provisioner: failingTimes(0)}, 0, "", nil},
		"third time":    {provision.Retry{Provisioner: failingTimes(2)}, 3 * time.Second, "", []string{"flaky: attempt 1 of 3 failed, retrying in 1s", "flaky: attempt 2 of 3 failed, retrying in 2s"}},
		"never":         {provision.Retry{Provisioner: failingTimes(9)}, 3 * time.Second, "failed after 3 attempts: broken", []string{"flaky: attempt 1 of 3 failed, retrying in 1s", "flaky: attempt 2 of 3 failed, retrying in 2s"}},
		"its own times": {provision.Retry{Provisioner: failingTimes(9), Attempts: 3, Delay: time.Minute, MaxDelay: 90 * time.Second}, 150 * time.Second, "broken", []string{"flaky: attempt 1 of 3 failed, retrying in 1m0s", "flaky: attempt 2 of 3 failed, retrying in 1m30s"}},
		"no second":     {provision.Retry{Provisioner: failingTimes(9), Attempts: 1}, 0, "failed after 1 attempts: broken", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				said, err := inABuild(t, baketest.NewMachine(nil), test.retry)
				if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, errBroken) || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("error is %v, want %q", err, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if diff := cmp.Diff(test.said, said); diff != "" {
					t.Errorf("said (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	cause := errors.New("had enough")
	for name, inner := range map[string]func(cancel func(error)) bake.Provisioner{
		"while it runs": func(cancel func(error)) bake.Provisioner {
			return bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error { cancel(cause); return cause }}
		},
		"while it waits": func(cancel func(error)) bake.Provisioner {
			return bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
				time.AfterFunc(time.Millisecond, func() { cancel(cause) })
				return errBroken
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				start := time.Now()
				err := provision.Retry{Provisioner: inner(cancel)}.Provision(ctx, baketest.NewMachine(nil))
				if !errors.Is(err, cause) || strings.Count(err.Error(), cause.Error()) != 1 || time.Since(start) > time.Millisecond {
					t.Errorf("error is %v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := provision.Timeout{Provisioner: endless, After: time.Hour}.Provision(t.Context(), baketest.NewMachine(nil))
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "timed out after 1h0m0s: context deadline exceeded" || time.Since(start) != time.Hour {
			t.Errorf("error is %v after %v", err, time.Since(start))
		}
		killed := bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error { <-ctx.Done(); return errBroken }}
		if err := (provision.Timeout{Provisioner: killed, After: time.Second}).Provision(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBroken) {
			t.Errorf("error is %v", err)
		}
		if err := (provision.Timeout{Provisioner: failingTimes(1), After: time.Second}).Provision(t.Context(), nil); err != errBroken { //nolint:errorlint // as it is
			t.Errorf("error is %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := (provision.Timeout{Provisioner: endless, After: time.Hour}).Provision(ctx, nil); err == nil || strings.Contains(err.Error(), "1h") {
			t.Errorf("error is %v, want that of the outer limit", err)
		}
	})
}

// The time is the build's.
func TestTimeoutLivesByTheBuildsClock(t *testing.T) {
	hurried := &hurry{Clock: clock.System()}
	var err error
	_, _ = bake.Bake(t.Context(), &bake.Options{Clock: hurried}, &bake.Image{
		Name: "x", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
				err = provision.Timeout{Provisioner: endless, After: 77 * time.Hour}.Provision(ctx, m)
				return err
			}},
		},
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}

// A hurry clock sleeps 77 hours in no time, and everything else as it is.
type hurry struct{ clock.Clock }

func (h *hurry) Sleep(ctx context.Context, d time.Duration) error {
	if d == 77*time.Hour {
		return nil
	}
	return h.Clock.Sleep(ctx, d)
}

func TestContinueOnError(t *testing.T) {
	said, err := inABuild(t, baketest.NewMachine(nil), provision.ContinueOnError{Provisioner: failingTimes(1)})
	if err != nil || !slices.Equal(said, []string{"flaky failed, continuing: broken"}) {
		t.Errorf("error is %v, it said %q", err, said)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	if err := (provision.ContinueOnError{Provisioner: endless}).Provision(ctx, nil); !errors.Is(err, errBroken) {
		t.Errorf("error is %v, want the end of the context", err)
	}
}

func TestOnlyIf(t *testing.T) {
	lost := baketest.Reply{Err: bake.ErrDisconnected}
	for name, test := range map[string]struct {
		cond provision.OnlyIf
		ask  baketest.Reply
		runs bool
		err  error
	}{
		"facts":       {provision.OnlyIf{Facts: func(f bake.Facts) bool { return f.Distro == "ubuntu" }}, baketest.Reply{}, true, nil},
		"other facts": {provision.OnlyIf{Facts: func(f bake.Facts) bool { return f.Distro == "amzn" }}, baketest.Reply{}, false, nil},
		"command":     {provision.OnlyIf{Command: "test -e /x", Sudo: true}, baketest.Reply{}, true, nil},
		"no":          {provision.OnlyIf{Command: "test -e /x"}, baketest.Reply{Status: 1}, false, nil},
		"killed":      {provision.OnlyIf{Command: "test -e /x"}, baketest.Reply{Status: 137, Signal: "KILL"}, false, &bake.ExitError{}},
		"lost":        {provision.OnlyIf{Command: "test -e /x"}, lost, false, bake.ErrDisconnected},
	} {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			m.On("test -e /x", test.ask)
			ran := false
			test.cond.Provisioner = bake.ProvisionFunc{Name: "it", Do: func(context.Context, bake.Machine) error { ran = true; return nil }}
			said, err := inABuild(t, m, test.cond)
			if (err == nil) != (test.err == nil) || ran != test.runs {
				t.Errorf("ran: %v, error: %v", ran, err)
			}
			if wants := err == nil && !ran; wants != slices.Equal(said, []string{"it: skipped, the condition does not hold"}) {
				t.Errorf("it said %q", said)
			}
			if calls := m.Calls(); len(calls) > 0 && calls[0].Sudo != test.cond.Sudo {
				t.Errorf("it did %v", calls)
			}
		})
	}
}

// Wrappers hand the machine on as it is, and its SSH access with it.
func TestWrappersPassSSHOn(t *testing.T) {
	m := baketest.NewMachine(&baketest.Options{SSH: &bake.SSHAccess{Host: "192.0.2.1"}})
	reached := ""
	reach := bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
		return bake.ReachSSH(ctx, m, func(_ context.Context, access bake.SSHAccess) error { reached = access.Host; return nil })
	}}
	run(t, m, provision.Sequence{provision.OnlyIf{Facts: func(bake.Facts) bool { return true }, Provisioner: provision.ContinueOnError{
		Provisioner: provision.Timeout{After: time.Hour, Provisioner: provision.Retry{Provisioner: reach}},
	}}})
	if reached != "192.0.2.1" {
		t.Errorf("it reached %q", reached)
	}
}

func TestBreakpoint(t *testing.T) {
	access := bake.SSHAccess{
		Host: "192.0.2.1", Port: 2222, User: "ubuntu", KnownHosts: "[192.0.2.1]:2222 ssh-ed25519 AAAA", Key: bake.NewSecret("the private key\n"), Certificate: "cert",
	}
	t.Run("says how to log in", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("files have no such modes on Windows")
		}
		dir := t.TempDir()
		var files map[string]string
		m := baketest.NewMachine(&baketest.Options{SSH: &access})
		said, err := inABuild(t, m, provision.Breakpoint{Note: "before hardening", KeyDir: dir, Wait: func(_ context.Context, got bake.SSHAccess) error {
			files = modes(t, dir)
			if got != access {
				t.Errorf("the access is %+v", got)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		in := regexp.QuoteMeta(dir) + "/bakestone-[0-9]+"
		want := regexp.MustCompile("^breakpoint before hardening: the build is paused; log in with: ssh -p 2222 -o UserKnownHostsFile='" + in +
			"/known_hosts' -o IdentitiesOnly=yes -i '" + in + "/key' -o CertificateFile='" + in + "/key-cert.pub' 'ubuntu@192.0.2.1'$")
		if len(said) != 1 || !want.MatchString(said[0]) {
			t.Errorf("it said %q", said)
		}
		if diff := cmp.Diff(map[string]string{
			"known_hosts": "-rw------- [192.0.2.1]:2222 ssh-ed25519 AAAA\n", "key": "-rw------- the private key\n", "key-cert.pub": "-rw------- cert\n",
		}, files); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		empty(t, dir)
	})
	t.Run("goes on", func(t *testing.T) {
		said, err := inABuild(t, baketest.NewMachine(&baketest.Options{SSH: &access}), provision.Breakpoint{Wait: func(context.Context, bake.SSHAccess) error { return nil }})
		if err != nil || !slices.Equal(said, []string{"breakpoint: the build is paused; log in as ubuntu to 192.0.2.1:2222"}) {
			t.Errorf("it said %q (%v)", said, err)
		}
		said, err = inABuild(t, baketest.NewMachine(nil), provision.Breakpoint{Wait: func(_ context.Context, access bake.SSHAccess) error {
			if access != (bake.SSHAccess{}) {
				t.Errorf("the access is %+v", access)
			}
			return errBroken
		}})
		if !errors.Is(err, errBroken) || len(said) != 1 || !strings.Contains(said[0], bake.ErrNoSSH.Error()) {
			t.Errorf("it said %q (%v)", said, err)
		}
	})
	t.Run("ends with its context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			dir := t.TempDir()
			m := baketest.NewMachine(&baketest.Options{SSH: &access})
			if err := (provision.Breakpoint{KeyDir: dir, Wait: untilDone}).Provision(ctx, m); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v", err)
			}
			empty(t, dir)
		})
	})
}

// untilDone is a Breakpoint.Wait that returns when its context ends.
func untilDone(ctx context.Context, _ bake.SSHAccess) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// modes lists the files below dir: their modes and contents.
func modes(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		files[entry.Name()] = info.Mode().String() + " " + string(text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return files
}

func TestWrappersValidate(t *testing.T) {
	bad := provision.Pause{}
	invalid(t, provision.Retry{Provisioner: bad, Attempts: -1}, []string{"Retry.Provisioner: Pause.For: ", "Retry: Attempts, Delay and MaxDelay must not be negative"})
	invalid(t, provision.Retry{}, []string{"Retry.Provisioner: is nil"})
	invalid(t, provision.Timeout{Provisioner: bad}, []string{"Timeout.Provisioner: Pause.For: ", "Timeout.After: "})
	invalid(t, provision.Timeout{After: 1}, []string{"Timeout.Provisioner: is nil"})
	invalid(t, provision.ContinueOnError{}, []string{"ContinueOnError.Provisioner: is nil"})
	invalid(t, provision.ContinueOnError{Provisioner: bad}, []string{"ContinueOnError.Provisioner: Pause.For: "})
	invalid(t, provision.OnlyIf{Provisioner: bad, Sudo: true}, []string{"OnlyIf.Provisioner: Pause.For: ", "OnlyIf: exactly one", "OnlyIf.Sudo: "})
	invalid(t, provision.Breakpoint{KeyDir: filepath.Join(t.TempDir(), "missing")}, []string{"Breakpoint.Wait: is required", "Breakpoint.KeyDir: "})
}
