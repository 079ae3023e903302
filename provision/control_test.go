package provision_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/provision"
)

func TestFunc(t *testing.T) {
	broken := errors.New("broken")
	m := baketest.NewMachine(nil)
	p := bake.ProvisionFunc{Name: "break it", Do: func(_ context.Context, got bake.Machine) error {
		if got != bake.Machine(m) {
			t.Error("it was given another machine")
		}
		return broken
	}}
	if err := p.Provision(t.Context(), m); !errors.Is(err, broken) {
		t.Errorf("error is %v, want %v", err, broken)
	}
	invalid(t, bake.ProvisionFunc{Name: "nothing"}, []string{"ProvisionFunc.Do: is required"})
}

func TestReboot(t *testing.T) {
	tests := map[string]struct {
		reboot provision.Reboot
		want   string
	}{
		"the machine's way": {provision.Reboot{}, "reboot reboot"},
		"a command":         {provision.Reboot{Command: "shutdown -r now", Sudo: true}, "sudo reboot shutdown -r now"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			run(t, m, test.reboot)
			if got := m.Calls()[0].String(); got != test.want {
				t.Errorf("it did %q, want %q", got, test.want)
			}
			if facts, err := m.Facts(t.Context()); err != nil || facts.BootID != "boot-2" {
				t.Errorf("the boot id is %s (%v)", facts.BootID, err)
			}
		})
	}
}

func TestRebootThatDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := baketest.NewMachine(nil)
		m.On("reboot", baketest.Reply{Do: func(ctx context.Context, _ *bake.Cmd) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}})
		start := time.Now()
		err := provision.Timeout{Provisioner: provision.Reboot{}, After: time.Minute}.Provision(t.Context(), m)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "timed out after 1m0s") {
			t.Errorf("error is %v, want one about a minute", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it took %v, want a minute", took)
		}
	})
}

func TestRebootFails(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.On("reboot", baketest.Reply{Status: 1})
	var exit *bake.ExitError
	if err := (provision.Reboot{}).Provision(t.Context(), m); !errors.As(err, &exit) {
		t.Errorf("error is %v, want the command's", err)
	}
	invalid(t, provision.Reboot{Sudo: true}, []string{"Reboot.Sudo: requires Command"})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		run(t, baketest.NewMachine(nil), provision.Pause{For: time.Hour})
		if took := time.Since(start); took != time.Hour {
			t.Errorf("it took %v, want an hour", took)
		}
		cause := errors.New("had enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := (provision.Pause{For: time.Hour}).Provision(ctx, nil); !errors.Is(err, cause) {
			t.Errorf("error is %v, want %v", err, cause)
		}
	})
	invalid(t, provision.Pause{}, []string{"Pause.For: "})
}

// In a build they live by the build's clock, and what Local does is reported.
func TestInABuild(t *testing.T) {
	needShell(t)
	clock := &sleepless{Clock: clock.System()}
	var got []string
	opts := &bake.Options{Clock: clock, Observe: func(e bake.Event) {
		if e.Kind == bake.CommandStarted || e.Kind == bake.OutputLine {
			got = append(got, fmt.Sprintf("%s %s: %s", e.Kind, e.Stream, e.Text))
		}
	}}
	_, err := bake.Bake(t.Context(), opts, &bake.Image{
		Name: "web", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{
			provision.Pause{For: 99 * time.Hour},
			provision.Local{
				Command: `echo "the token is $TOKEN"; printf more >&2`,
				Secrets: map[string]bake.Secret{"TOKEN": bake.NewSecret("hidden")},
			},
			provision.Timeout{Provisioner: provision.Reboot{}, After: time.Hour},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if clock.slept() != 99*time.Hour {
		t.Errorf("the clock was asked for %v, want 99 hours", clock.slept())
	}
	want := []string{
		`command started : echo "the token is $TOKEN"; printf more >&2`,
		"output stdout: the token is [redacted]",
		"output stderr: more",
	}
	slices.Sort(want)
	slices.Sort(got) // the two outputs come in either order
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A sleepless clock only counts the pauses; limits, which end with their
// context, are waited for.
type sleepless struct {
	clock.Clock
	mu sync.Mutex
	d  time.Duration
}

func (s *sleepless) Sleep(ctx context.Context, d time.Duration) error {
	if d != 99*time.Hour {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.d += d
	return nil
}

func (s *sleepless) slept() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d
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
		t.Errorf("error is %v", err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, m.Commands()); diff != "" {
		t.Error(diff)
	}
}

func TestSequenceEndsWithItsContext(t *testing.T) {
	cause := errors.New("had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	m := baketest.NewMachine(nil)
	err := provision.Sequence{
		bake.ProvisionFunc{Name: "cancel", Do: func(context.Context, bake.Machine) error { cancel(cause); return nil }},
		bake.ProvisionFunc{Name: "more", Do: func(context.Context, bake.Machine) error { t.Error("it went on"); return nil }},
	}.Provision(ctx, m)
	if !errors.Is(err, cause) {
		t.Errorf("error is %v, want %v", err, cause)
	}
}

func TestSequenceValidate(t *testing.T) {
	invalid(t, provision.Sequence{}, []string{"Sequence: is empty"})
	invalid(t, provision.Sequence{
		provision.Shell("fine"), nil, provision.Pause{}, bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error { return nil }},
		provision.Sequence{bake.ProvisionFunc{}},
	}, []string{"Sequence[1]: is nil", "Sequence[2]: Pause.For: ", "Sequence[4]: Sequence[0]: ProvisionFunc.Do: "})
}
