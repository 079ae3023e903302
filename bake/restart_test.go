package bake_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

var errReclaimed = errors.New("reclaimed")

// A spotBuilder is an in-memory builder that restarts after errReclaimed, up to
// restarts times per session.
type spotBuilder struct {
	*baketest.Builder

	restarts int
}

func (b *spotBuilder) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := b.Builder.Begin(img, run)
	return &spotSession{Session: s, left: b.restarts}, err
}

type spotSession struct {
	bake.Session

	left int
}

func (s *spotSession) Restart(_ context.Context, cause error) bool {
	s.left--
	return errors.Is(cause, errReclaimed) && s.left >= 0
}

// reclaimed fails with errReclaimed the given number of times.
func reclaimed(times int) func(context.Context, bake.Machine) error {
	return func(ctx context.Context, m bake.Machine) error {
		if times--; times >= 0 {
			return errReclaimed
		}
		return m.Run(ctx, bake.Sh("true"))
	}
}

func TestRestartAfterReclaim(t *testing.T) {
	var log []string
	note := func(name string, at bake.Point) bake.Step {
		return bake.Step{
			Name: name, At: at,
			Do: func(context.Context) error { log = append(log, name); return nil },
			Undo: func(_ context.Context, outcome bake.Outcome) error {
				log = append(log, "undo "+name+" "+outcome.String())
				return nil
			},
		}
	}
	b := &spotBuilder{baketest.NewBuilder(nil), 2}
	restarted := 0
	results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.BuildRestarted {
			restarted++
			if e.Err != errReclaimed.Error() || e.Step == "" {
				t.Errorf("BuildRestarted event %+v, want the cause and a step", e)
			}
		}
	}}, &bake.Image{
		Name: "spot", Builder: b,
		Steps:        []bake.Step{note("before", bake.BeforeLaunch), note("prepare", bake.BeforeProvision), note("after", bake.AfterCapture)},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "work", Do: reclaimed(1)}},
		Checks:       []bake.Check{bake.CheckFunc{Name: "works", Do: reclaimed(2)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if restarted != 3 {
		t.Errorf("%d restarts, want 3: one of the build and two of the check", restarted)
	}
	want := []string{
		"before", "prepare", "undo prepare failed", "prepare", "after",
		"undo after succeeded", "undo prepare succeeded", "undo before succeeded",
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got := b.Existing(); !slices.Equal(got, []string{results[0].Artifact.ID()}) {
		t.Errorf("existing %v, want only the artifact", got)
	}
	for _, s := range results[0].Steps {
		if s.Err != nil || s.Attempts != 1 {
			t.Errorf("step %s: %d attempts, error %v; want 1, nil", s.Name, s.Attempts, s.Err)
		}
	}
}

func TestRestartLimits(t *testing.T) {
	for name, test := range map[string]struct {
		restarts int
		cause    error
		cancel   bool
		want     error
	}{
		"too often":     {restarts: 2, cause: errReclaimed, want: errReclaimed},
		"another cause": {restarts: 2, cause: errPlanted, want: errPlanted},
		"canceled":      {restarts: 1 << 30, cause: errReclaimed, cancel: true, want: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b := &spotBuilder{baketest.NewBuilder(nil), test.restarts}
			tries := 0
			_, err := bake.Bake(ctx, nil, &bake.Image{Name: "spot", Builder: b, Provisioners: []bake.Provisioner{
				bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
					if tries++; tries == 5 && test.cancel {
						cancel()
					}
					return test.cause
				}},
			}})
			if !errors.Is(err, test.want) || !errors.Is(err, test.cause) {
				t.Errorf("Bake = %v, want %v", err, test.want)
			}
			if test.restarts == 2 && test.cause == errReclaimed && tries != 3 { //nolint:errorlint // the test's own value
				t.Errorf("%d attempts, want 3", tries)
			}
			if left := b.Existing(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A failed undo ends the build, since the earlier machine may still exist.
func TestRestartUndoFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // undo waits between attempts
		b := &spotBuilder{baketest.NewBuilder(nil), 5}
		tries := 0
		_, err := bake.Bake(t.Context(), nil, &bake.Image{
			Name: "spot", Builder: b,
			Steps: []bake.Step{{
				Name: "stuck", At: bake.BeforeProvision, Do: nothing,
				Undo: func(context.Context, bake.Outcome) error { return errPlanted },
			}},
			Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
				tries++
				return errReclaimed
			}}},
		})
		if tries != 1 || !errors.Is(err, errReclaimed) || !errors.Is(err, errPlanted) {
			t.Errorf("%d attempts, error %v; want 1 and both errors", tries, err)
		}
	})
}

// Once there is an artifact, losing the machine does not restart the build.
func TestNoRestartAfterCapture(t *testing.T) {
	tries := 0
	_, err := bake.Bake(t.Context(), nil, &bake.Image{
		Name: "spot", Builder: &spotBuilder{baketest.NewBuilder(nil), 5},
		Steps: []bake.Step{{Name: "late", At: bake.AfterCapture, Do: func(context.Context) error {
			tries++
			return errReclaimed
		}}},
	})
	if tries != 1 || !errors.Is(err, errReclaimed) {
		t.Errorf("%d attempts, error %v; want 1 and errReclaimed", tries, err)
	}
}
