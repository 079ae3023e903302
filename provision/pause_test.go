package provision_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		run(t, baketest.NewMachine(nil), provision.Pause{For: time.Hour})
		if took := time.Since(start); took != time.Hour {
			t.Errorf("Provision() took %v, want an hour", took)
		}
		cause := errors.New("canceled by test")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		if err := (provision.Pause{For: time.Hour}).Provision(ctx, nil); !errors.Is(err, cause) {
			t.Errorf("Provision() = %v, want %v", err, cause)
		}
	})
	invalid(t, provision.Pause{}, []string{"Pause.For: "})
}

// Provisioners use the build's clock, and Local emits events.
func TestEventsAndClockOfBuild(t *testing.T) {
	needShell(t)
	clock := &pauseClock{Clock: clock.System()}
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
		t.Errorf("clock slept %v, want 99h", clock.slept())
	}
	want := []string{
		`command started : echo "the token is $TOKEN"; printf more >&2`,
		"output stdout: the token is [redacted]",
		"output stderr: more",
	}
	slices.Sort(want)
	slices.Sort(got) // the order of the two outputs varies
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A pauseClock counts sleeps of 99 hours without sleeping. Other sleeps last until
// their context ends.
type pauseClock struct {
	clock.Clock
	mu sync.Mutex
	d  time.Duration
}

func (s *pauseClock) Sleep(ctx context.Context, d time.Duration) error {
	if d != 99*time.Hour {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.d += d
	return nil
}

func (s *pauseClock) slept() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.d
}
