package baketest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
)

// ConformRestarts tests that a build goes on in another process, for each of its
// steps: the step was done, but the process ended before that was recorded, so
// that another one begins with the record from before the step, and does it
// again. In the end there is as much as after an undisturbed build, and nothing
// of it when the artifact was destroyed.
//
// It is a part of Conform; by itself it is for the other ways in which a Builder
// bakes, with other steps.
func ConformRestarts(t *testing.T, fresh func(t *testing.T) Platform) {
	t.Helper()
	p := fresh(t)
	whole := &restarted{Builder: p.Builder}
	if _, err := bake.Bake(t.Context(), p.options(), unchecked("whole", whole)); err != nil {
		t.Fatalf("Bake: %v", err)
	}
	want := p.Existing()
	for _, name := range whole.done {
		t.Run("restart after "+name, func(t *testing.T) {
			p := fresh(t)
			dying := &restarted{Builder: p.Builder, after: name}
			results, err := bake.Bake(t.Context(), p.options(), unchecked("restarted", dying))
			if err != nil {
				t.Fatalf("Bake: %v", err)
			}
			if !slices.Contains(dying.done, name) || !dying.died {
				t.Fatalf("there was no restart after %s", name)
			}
			if got := p.Existing(); len(got) != len(want) {
				t.Errorf("there are %d things, want %d, as without a restart:\n%v\n%v", len(got), len(want), got, want)
			}
			if err := results[0].Artifact.Destroy(t.Context()); err != nil {
				t.Errorf("Destroy: %v", err)
			}
			p.wantNothing(t)
		})
	}
}

// A restarted builder is another one whose build is, once a certain step was
// done, that of another process which knows the record from before the step.
type restarted struct {
	bake.Builder

	after string // the step; empty is none
	died  bool
	done  []string
}

func (r *restarted) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := r.Builder.Begin(img, run)
	if err != nil {
		return nil, err
	}
	return &restartedSession{by: r, image: img, run: run, session: s}, nil
}

// A restartedSession looks its steps up in the session of the process that
// lives.
type restartedSession struct {
	by      *restarted
	image   *bake.Image
	run     *bake.Run
	session bake.Session
}

func (s *restartedSession) Launch() []bake.Step     { return s.steps(s.session.Launch()) }
func (s *restartedSession) Capture() []bake.Step    { return s.steps(s.session.Capture()) }
func (s *restartedSession) Release() []bake.Step    { return s.steps(s.session.Release()) }
func (s *restartedSession) Promote() []bake.Step    { return s.steps(s.session.Promote()) }
func (s *restartedSession) Artifact() bake.Artifact { return s.session.Artifact() }

func (s *restartedSession) Connect(ctx context.Context) (bake.Machine, error) {
	return s.session.Connect(ctx)
}

func (s *restartedSession) MarshalJSON() ([]byte, error) { return json.Marshal(s.session) }

func (s *restartedSession) steps(steps []bake.Step) []bake.Step {
	for i := range steps {
		name := steps[i].Name
		steps[i].Do = func(ctx context.Context) error { return s.do(ctx, name) }
		if steps[i].Undo != nil {
			steps[i].Undo = func(ctx context.Context, outcome bake.Outcome) error { return s.find(name).Undo(ctx, outcome) }
		}
	}
	return steps
}

// find is the step of this name of the process that lives.
func (s *restartedSession) find(name string) bake.Step {
	all := slices.Concat(s.session.Launch(), s.session.Capture(), s.session.Promote())
	return all[slices.IndexFunc(all, func(step bake.Step) bool { return step.Name == name })]
}

func (s *restartedSession) do(ctx context.Context, name string) error {
	s.by.done = append(s.by.done, name)
	if name == s.by.after && !s.by.died {
		record, err := json.Marshal(s.session)
		if err != nil {
			return err
		}
		if err := s.find(name).Do(ctx); err != nil {
			return err
		}
		s.by.died = true
		if s.session, err = s.by.Builder.Begin(s.image, s.run); err != nil {
			return err
		}
		if err := json.Unmarshal(record, s.session); err != nil {
			return fmt.Errorf("the record of the session: %w", err)
		}
	}
	return s.find(name).Do(ctx)
}
