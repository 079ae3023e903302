package bake_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// lingering is an in-memory builder whose machines exist until until is closed.
type lingering struct {
	*baketest.Builder
	until <-chan struct{}
}

func (l lingering) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := l.Builder.Begin(img, run)
	return lingeringSession{s, l.until}, err
}

type lingeringSession struct {
	bake.Session
	until <-chan struct{}
}

func (s lingeringSession) Launch() []bake.Step {
	steps := s.Session.Launch()
	undo := steps[0].Undo
	steps[0].Undo = func(ctx context.Context, outcome bake.Outcome) error {
		select {
		case <-s.until:
			return undo(ctx, outcome)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return steps
}

func (s lingeringSession) EndCheck() []bake.Step {
	return []bake.Step{{Name: "end machine", Do: func(context.Context) error { return nil }}}
}

// Promotion and dependent images do not wait for the removal of machines.
func TestCleanUpDelaysNothing(t *testing.T) {
	synctest.Test(t, testCleanUpDelaysNothing)
}

func testCleanUpDelaysNothing(t *testing.T) {
	ended := make(chan struct{})
	memory := baketest.NewBuilder(nil)
	var order []string
	base := &bake.Image{
		Name: "base", Builder: lingering{memory, ended},
		Checks: []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return nil }}},
		Publishers: []bake.Publisher{bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error {
			order = append(order, "published")
			return nil
		}}},
	}
	layer := &bake.Image{
		Name: "layer", Builder: memory, From: base,
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
			order = append(order, "layer started")
			close(ended)
			return nil
		}}},
	}
	results, err := bake.Bake(t.Context(), nil, base, layer)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"published", "layer started"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if existing := memory.Existing(); len(existing) != 2 {
		t.Errorf("existing %v, want the two artifacts", existing)
	}
	for _, step := range results[0].Steps {
		if step.Name == "check: end machine" {
			return
		}
	}
	t.Errorf("steps %v, want one named \"check: end machine\"", results[0].Steps)
}
