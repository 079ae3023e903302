package bake_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// connections is an in-memory builder that writes down when connections begin and end.
type connections struct {
	*baketest.Builder
	log     *[]string
	capture func(ctx context.Context, run *bake.Run) error
}

func (c connections) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := c.Builder.Begin(img, run)
	return connectionsSession{s, c, run}, err
}

type connectionsSession struct {
	bake.Session
	builder connections
	run     *bake.Run
}

func (s connectionsSession) Connect(ctx context.Context) (bake.Machine, error) {
	m, err := s.Session.Connect(ctx)
	*s.builder.log = append(*s.builder.log, "connect")
	return loggedMachine{m, s.builder.log}, err
}

func (s connectionsSession) Capture() []bake.Step {
	first := bake.Step{Name: "prepare", Do: func(ctx context.Context) error { return s.builder.capture(ctx, s.run) }}
	return append([]bake.Step{first}, s.Session.Capture()...)
}

func (s connectionsSession) Promote() []bake.Step {
	steps := s.Session.Promote()
	promote := steps[0].Do
	steps[0].Do = func(ctx context.Context) error {
		*s.builder.log = append(*s.builder.log, "promote")
		return promote(ctx)
	}
	return steps
}

func (s connectionsSession) KeptMachine() bake.KeptMachine { return bake.KeptMachine{} }

type loggedMachine struct {
	bake.Machine
	log *[]string
}

func (m loggedMachine) Run(ctx context.Context, cmd *bake.Cmd) error {
	*m.log = append(*m.log, cmd.Line)
	return m.Machine.Run(ctx, cmd)
}

func (m loggedMachine) Close() error {
	*m.log = append(*m.log, "close")
	return m.Machine.Close()
}

// A step of Capture goes on with the connection of the provisioners, and nothing else
// keeps it open.
func TestTakeMachine(t *testing.T) {
	clean := func(ctx context.Context, run *bake.Run) error {
		m := run.TakeMachine()
		if m == nil {
			return errors.New("TakeMachine = nil")
		}
		if again := run.TakeMachine(); again != nil {
			return errors.New("TakeMachine called again = a machine, want nil")
		}
		return errors.Join(m.Run(ctx, bake.Sh("clean")), m.Close())
	}
	leave := func(context.Context, *bake.Run) error { return nil }
	failed := errors.New("failed")
	fail := func(context.Context, *bake.Run) error { return failed }
	for _, test := range []struct {
		name    string
		capture func(ctx context.Context, run *bake.Run) error
		only    bool
		err     error
		want    []string
	}{
		{"taken", clean, false, nil, []string{"connect", "set up", "clean", "close", "promote"}},
		{"not taken", leave, false, nil, []string{"connect", "set up", "close", "promote"}},
		{"failed before it was taken", fail, false, failed, []string{"connect", "set up", "close"}},
		{"nothing to capture", clean, true, nil, []string{"connect", "set up", "close"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log []string
			memory := baketest.NewBuilder(nil)
			img := &bake.Image{
				Name: "image", Builder: connections{memory, &log, test.capture}, ProvisionOnly: test.only,
				Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
					if bake.RunFromContext(ctx).TakeMachine() != nil {
						t.Error("TakeMachine while provisioning = a machine, want nil")
					}
					return m.Run(ctx, bake.Sh("set up"))
				}}},
			}
			results, err := bake.Bake(t.Context(), &bake.Options{OnFailure: bake.KeepMachine}, img)
			if !errors.Is(err, test.err) {
				t.Fatalf("Bake: %v, want %v", err, test.err)
			}
			if !slices.Equal(log, test.want) {
				t.Errorf("connection: %q, want %q", log, test.want)
			}
			if results[0].Kept != nil {
				t.Errorf("kept %v, want nothing: provisioning has succeeded", results[0].Kept)
			}
		})
	}
}
