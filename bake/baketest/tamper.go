package baketest

import (
	"context"
	"encoding/json"

	"github.com/bakestone-go/bakestone/bake"
)

// A tampered builder wraps another builder and runs its steps through hooks.
type tampered struct {
	bake.Builder
	do   func(step string, do func(context.Context) error) func(context.Context) error
	undo func(step string, undo undoFunc) undoFunc
}

// Unwrap gives access to the builder's optional interfaces.
func (t *tampered) Unwrap() bake.Builder { return t.Builder }

type undoFunc = func(context.Context, bake.Outcome) error

func (t *tampered) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := t.Builder.Begin(img, run)
	if err != nil {
		return nil, err
	}
	return &tamperedSession{session: s, by: t, checks: run.Checks}, nil
}

type tamperedSession struct {
	session bake.Session
	by      *tampered
	checks  bool
}

// Unwrap gives access to the session's optional interfaces.
func (s *tamperedSession) Unwrap() bake.Session { return s.session }

// name returns the build's name for a step of the session.
func (s *tamperedSession) name(step string) string {
	if s.checks {
		return "check: " + step
	}
	return step
}

func (s *tamperedSession) Launch() []bake.Step     { return s.steps(s.session.Launch()) }
func (s *tamperedSession) Capture() []bake.Step    { return s.steps(s.session.Capture()) }
func (s *tamperedSession) EndCheck() []bake.Step   { return s.steps(s.session.EndCheck()) }
func (s *tamperedSession) Promote() []bake.Step    { return s.steps(s.session.Promote()) }
func (s *tamperedSession) Artifact() bake.Artifact { return s.session.Artifact() }

func (s *tamperedSession) MarshalJSON() ([]byte, error)    { return json.Marshal(s.session) }
func (s *tamperedSession) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, s.session) }

func (s *tamperedSession) Connect(ctx context.Context) (m bake.Machine, err error) {
	connect := s.by.wrapDo(s.name("connect"), func(ctx context.Context) error {
		m, err = s.session.Connect(ctx)
		return err
	})
	if err := connect(ctx); err != nil {
		if m != nil {
			return nil, closeAfter(m, err)
		}
		return nil, err
	}
	return m, nil
}

// closeAfter closes a connection after a hook failed with err.
func closeAfter(m bake.Machine, err error) error {
	_ = m.Close() // err is why
	return err
}

func (t *tampered) wrapDo(step string, do func(context.Context) error) func(context.Context) error {
	if t.do == nil {
		return do
	}
	return t.do(step, do)
}

func (s *tamperedSession) steps(steps []bake.Step) []bake.Step {
	out := make([]bake.Step, len(steps))
	for i, step := range steps {
		step.Do = s.by.wrapDo(s.name(step.Name), step.Do)
		if s.by.undo != nil && step.Undo != nil {
			step.Undo = s.by.undo(s.name(step.Name), step.Undo)
		}
		out[i] = step
	}
	return out
}
