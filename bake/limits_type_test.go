package bake_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// A choosyBuilder needs a machine of one of several types, and gets one that choose
// returns for the build or its check. It counts the machines of each type.
type choosyBuilder struct {
	bake.Builder
	*census

	types  []string
	choose func(checks bool) string
}

func (b choosyBuilder) Demand(context.Context, *bake.Image) (bake.Demand, error) {
	return bake.Demand{Place: "here", Types: b.types}, nil
}

func (b choosyBuilder) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := b.Builder.Begin(img, run)
	return &choosySession{Session: s, builder: b, checks: run.Checks}, err
}

type choosySession struct {
	bake.Session
	builder choosyBuilder
	checks  bool
	kind    string
}

func (s *choosySession) MachineType() string { return s.kind }

// Launch adds a step that takes a minute before and after the type is known.
func (s *choosySession) Launch() []bake.Step {
	return append(s.Session.Launch(), bake.Step{
		Name: "choose the type",
		Do: func(context.Context) error {
			time.Sleep(time.Minute)
			s.kind = s.builder.choose(s.checks)
			s.builder.count([]string{s.kind}, 1)
			return nil
		},
		Undo: func(context.Context, bake.Outcome) error {
			s.builder.count([]string{s.kind}, -1)
			s.kind = ""
			return nil
		},
	})
}

// Capture adds a step in which the machine ends.
func (s *choosySession) Capture() []bake.Step {
	return append([]bake.Step{{Name: "stop", Do: func(context.Context) error {
		s.builder.count([]string{s.kind}, -1)
		s.builder.count([]string{"stopped"}, 1)
		s.kind = "stopped"
		return nil
	}}}, s.Session.Capture()...)
}

// TestLimitsAlternatives bakes images that may get one of two types, which they know only
// once they have their machine, and another one for their check. Neither type's limit is
// ever exceeded, and a build holds the other type back only until its own is known.
func TestLimitsAlternatives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCensus()
		limits := &bake.Limits{PerType: 2}
		var calls sync.WaitGroup
		var mu sync.Mutex
		launched := 0
		next := func(bool) string { // now one, now the other
			mu.Lock()
			defer mu.Unlock()
			launched++
			return []string{"big", "small"}[launched%2]
		}
		began := time.Now()
		for i := range 12 {
			types := [][]string{{"big", "small"}, {"big"}, {"small"}}[i%3]
			choose := next
			if len(types) == 1 {
				choose = func(bool) string { return types[0] }
			}
			img := &bake.Image{
				Name: fmt.Sprint(i), Builder: choosyBuilder{Builder: baketest.NewBuilder(nil), census: c, types: types, choose: choose},
				Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "work", Do: func(context.Context, bake.Machine) error {
					time.Sleep(time.Hour)
					return nil
				}}},
				Checks: []bake.Check{bake.CheckFunc{Name: "check", Do: func(context.Context, bake.Machine) error {
					time.Sleep(time.Hour)
					return nil
				}}},
			}
			calls.Go(func() {
				time.Sleep(time.Duration(i) * time.Second) // so that all runs have one order
				if _, err := bake.Bake(t.Context(), &bake.Options{Limits: limits}, img); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		for _, kind := range []string{"big", "small"} {
			if c.most[kind] != 2 {
				t.Errorf("machines of type %s at once = %d, want the 2 that the limit permits", kind, c.most[kind])
			}
			if c.now[kind] != 0 {
				t.Errorf("machines of type %s at the end = %d, want 0", kind, c.now[kind])
			}
		}
		// Each of the 24 machines works for an hour, and four may do at once.
		if took := time.Since(began); took > 7*time.Hour+30*time.Minute {
			t.Errorf("the bakes took %v, want at most 7h30m: types were held back that no machine had", took)
		}
		if _, err := bake.Bake(t.Context(), &bake.Options{Limits: limits}, c.image("after", bake.Demand{Place: "here", Types: []string{"big"}})); err != nil {
			t.Errorf("Bake() after the others = %v", err)
		}
	})
}
