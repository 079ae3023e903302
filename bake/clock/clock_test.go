package clock_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

func TestVirtual(t *testing.T) {
	c := clock.NewVirtual(time.Unix(0, 0))
	done := make(chan error, 1)
	go func() { done <- c.Sleep(t.Context(), time.Minute) }()
	if err := c.Await(t.Context(), 1); err != nil {
		t.Fatalf("Await(1) = %v, want nil", err)
	}
	c.Advance(59 * time.Second)
	if got := c.Sleepers(); got != 1 {
		t.Errorf("Sleepers() after 59 s = %d, want 1", got)
	}
	c.Advance(time.Second)
	if err := <-done; err != nil {
		t.Errorf("Sleep(1m) after a minute = %v, want nil", err)
	}
	if got, want := c.Now(), time.Unix(60, 0); !got.Equal(want) {
		t.Errorf("Now() = %v, want %v", got, want)
	}
}

func TestVirtualSleepReturnsCause(t *testing.T) {
	c := clock.NewVirtual(time.Unix(0, 0))
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Sleep(ctx, time.Minute) }()
	if err := c.Await(t.Context(), 1); err != nil {
		t.Fatalf("Await(1) = %v, want nil", err)
	}
	cancel(cause)
	if err := <-done; err != cause { //nolint:errorlint // the cause itself, unwrapped
		t.Errorf("Sleep after cancel = %v, want %v", err, cause)
	}
	if got := c.Sleepers(); got != 0 {
		t.Errorf("Sleepers() after cancel = %d, want 0", got)
	}
}

func TestScaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast := clock.Scaled(60)
		scaled, started := fast.Now(), time.Now()
		if err := fast.Sleep(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(started); got != time.Second {
			t.Errorf("Scaled(60).Sleep(1m) took %v, want 1s", got)
		}
		if got := fast.Now().Sub(scaled); got != time.Minute {
			t.Errorf("Scaled(60).Now() advanced by %v, want 1m", got)
		}
	})
}

// A sleep lasts until its end by the same clock.
func TestScaledSleepsLongEnough(t *testing.T) {
	for _, factor := range []float64{1, 1.1, 7, 60, 1e3 / 3, 1e12} {
		synctest.Test(t, func(t *testing.T) {
			fast := clock.Scaled(factor)
			for d := time.Duration(1); d < 100*time.Hour; d = 3*d + 1 {
				end := fast.Now().Add(d)
				if err := fast.Sleep(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				if now := fast.Now(); now.Before(end) {
					t.Errorf("Scaled(%v).Sleep(%v) ended %v too early", factor, d, end.Sub(now))
				}
			}
		})
	}
}

func TestWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]clock.Clock{"nil": nil, "system": clock.System(), "scaled": clock.Scaled(1)} {
			ctx, stop := clock.WithTimeout(t.Context(), c, time.Second)
			<-ctx.Done()
			if got := context.Cause(ctx); !errors.Is(got, context.DeadlineExceeded) {
				t.Errorf("%s: Cause after WithTimeout(1s) = %v, want %v", name, got, context.DeadlineExceeded)
			}
			stop()
		}
	})
}
