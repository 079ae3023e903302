package provision_test

import (
	"context"
	"errors"
	"fmt"
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

// failingTimes returns a provisioner that fails the given number of times.
func failingTimes(times int) bake.Provisioner {
	return bake.ProvisionFunc{Name: "flaky", Do: func(context.Context, bake.Machine) error {
		if times--; times >= 0 {
			return errBroken
		}
		return nil
	}}
}

// untilCanceled runs until its context ends.
var untilCanceled = bake.ProvisionFunc{Name: "endless", Do: func(ctx context.Context, _ bake.Machine) error { //nolint:gochecknoglobals // never changed
	<-ctx.Done()
	return context.Cause(ctx)
}}

func TestRetry(t *testing.T) {
	for name, test := range map[string]struct {
		retry    provision.Retry
		took     time.Duration
		want     string
		messages []string
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
				messages, err := bakeMessages(t, baketest.NewMachine(nil), test.retry)
				if test.want == "" && err != nil || test.want != "" && (!errors.Is(err, errBroken) || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("Provision() = %v, want %q", err, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("Provision() took %v, want %v", took, test.took)
				}
				if diff := cmp.Diff(test.messages, messages); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRetryPermanent(t *testing.T) {
	for _, permanent := range []error{&bake.PermanentError{Err: errBroken}, &bake.FieldError{Field: "X", Err: errBroken}} {
		tries := 0
		p := bake.ProvisionFunc{Name: "refused", Do: func(context.Context, bake.Machine) error {
			tries++
			return fmt.Errorf("refused: %w", permanent)
		}}
		err := provision.Retry{Provisioner: p}.Provision(t.Context(), baketest.NewMachine(nil))
		if !errors.Is(err, permanent) || tries != 1 {
			t.Errorf("Provision() = %v after %d attempts, want %v after 1", err, tries, permanent)
		}
	}
}

func TestRetryCanceled(t *testing.T) {
	cause := errors.New("canceled by test")
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
					t.Errorf("Provision() = %v after %v, want %v once, immediately", err, time.Since(start), cause)
				}
			})
		})
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := provision.Timeout{Provisioner: untilCanceled, After: time.Hour}.Provision(t.Context(), baketest.NewMachine(nil))
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != "timed out after 1h0m0s: context deadline exceeded" || time.Since(start) != time.Hour {
			t.Errorf("Provision() = %v after %v, want a timeout after 1h", err, time.Since(start))
		}
		killed := bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error { <-ctx.Done(); return errBroken }}
		if err := (provision.Timeout{Provisioner: killed, After: time.Second}).Provision(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBroken) {
			t.Errorf("Provision() = %v", err)
		}
		if err := (provision.Timeout{Provisioner: failingTimes(1), After: time.Second}).Provision(t.Context(), nil); err != errBroken { //nolint:errorlint // as it is
			t.Errorf("Provision() = %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := (provision.Timeout{Provisioner: untilCanceled, After: time.Hour}).Provision(ctx, nil); err == nil || strings.Contains(err.Error(), "1h") {
			t.Errorf("Provision() = %v, want that of the outer limit", err)
		}
	})
}

func TestTimeoutUsesBuildClock(t *testing.T) {
	clk := &hurry{Clock: clock.System()}
	var err error
	_, _ = bake.Bake(t.Context(), &bake.Options{Clock: clk}, &bake.Image{
		Name: "x", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{
			bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
				err = provision.Timeout{Provisioner: untilCanceled, After: 77 * time.Hour}.Provision(ctx, m)
				return err
			}},
		},
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Provision() = %v", err)
	}
}

// A hurry clock returns immediately from a sleep of 77 hours.
type hurry struct{ clock.Clock }

func (h *hurry) Sleep(ctx context.Context, d time.Duration) error {
	if d == 77*time.Hour {
		return nil
	}
	return h.Clock.Sleep(ctx, d)
}

func TestContinueOnError(t *testing.T) {
	messages, err := bakeMessages(t, baketest.NewMachine(nil), provision.ContinueOnError{Provisioner: failingTimes(1)})
	if err != nil || !slices.Equal(messages, []string{"flaky failed, continuing: broken"}) {
		t.Errorf("Provision() = %v, messages = %q", err, messages)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	if err := (provision.ContinueOnError{Provisioner: untilCanceled}).Provision(ctx, nil); !errors.Is(err, errBroken) {
		t.Errorf("Provision() = %v, want the end of the context", err)
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
			messages, err := bakeMessages(t, m, test.cond)
			if (err == nil) != (test.err == nil) || ran != test.runs {
				t.Errorf("ran = %v, error = %v, want %v, %v", ran, err, test.runs, test.err)
			}
			if wants := err == nil && !ran; wants != slices.Equal(messages, []string{"it: skipped, the condition does not hold"}) {
				t.Errorf("messages = %q, want one only if skipped", messages)
			}
			if calls := m.Calls(); len(calls) > 0 && calls[0].Sudo != test.cond.Sudo {
				t.Errorf("calls = %v, want Sudo %v", calls, test.cond.Sudo)
			}
		})
	}
}

// Wrappers pass on the machine with its SSH access.
func TestWrappersPassSSHAccess(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{SSH: &bake.SSHAccess{Host: "192.0.2.1"}})
	reached := ""
	reach := bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
		return bake.ReachSSH(ctx, m, func(_ context.Context, access bake.SSHAccess) error { reached = access.Host; return nil })
	}}
	run(t, m, provision.Sequence{provision.OnlyIf{Facts: func(bake.Facts) bool { return true }, Provisioner: provision.ContinueOnError{
		Provisioner: provision.Timeout{After: time.Hour, Provisioner: provision.Retry{Provisioner: reach}},
	}}})
	if reached != "192.0.2.1" {
		t.Errorf("SSH access to %q, want 192.0.2.1", reached)
	}
}

func TestSequence(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.On("one", baketest.Reply{})
	m.On("two", baketest.Reply{Status: 3})
	all := provision.Sequence{
		provision.Shell("one"),
		provision.Named{Name: "second", Provisioner: provision.Shell("two")},
		provision.Shell("three"),
	}
	err := all.Provision(t.Context(), m)
	var exit *bake.ExitError
	if !errors.As(err, &exit) || !strings.HasPrefix(fmt.Sprint(err), "second (2 of 3): exit status 3") {
		t.Errorf("Provision() = %v", err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, m.Commands()); diff != "" {
		t.Error(diff)
	}
}

func TestSequenceCanceled(t *testing.T) {
	cause := errors.New("canceled by test")
	ctx, cancel := context.WithCancelCause(t.Context())
	m := baketest.NewMachine(nil)
	err := provision.Sequence{
		bake.ProvisionFunc{Name: "cancel", Do: func(context.Context, bake.Machine) error { cancel(cause); return nil }},
		bake.ProvisionFunc{Name: "more", Do: func(context.Context, bake.Machine) error { t.Error("the sequence continued"); return nil }},
	}.Provision(ctx, m)
	if !errors.Is(err, cause) {
		t.Errorf("Provision() = %v, want %v", err, cause)
	}
}

func TestSequenceValidate(t *testing.T) {
	invalid(t, provision.Sequence{}, []string{"Sequence: is empty"})
	invalid(t, provision.Sequence{
		provision.Shell("fine"), nil, provision.Pause{}, bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error { return nil }},
		provision.Sequence{bake.ProvisionFunc{}},
	}, []string{"Sequence[1]: is nil", "Sequence[2]: Pause.For: ", "Sequence[4]: Sequence[0]: ProvisionFunc.Do: "})
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
}
