package bake_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// diskBuilder makes artifacts without a machine. Their check machines are those of other.
type diskBuilder struct {
	other *baketest.Builder
	log   *[]string
}

func (b diskBuilder) Validate(*bake.Image) error { return nil }

func (b diskBuilder) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	if run.Checks {
		return b.other.Begin(img, run)
	}
	return &diskSession{builder: b, run: run}, nil
}

type diskSession struct {
	builder diskBuilder
	run     *bake.Run
	Blocks  int  `json:"blocks"`
	Made    bool `json:"made"`
}

func (s *diskSession) IsMachineless() bool { return true }
func (s *diskSession) Launch() []bake.Step { return nil }
func (s *diskSession) Connect(context.Context) (bake.Machine, error) {
	return nil, errors.New("connected to no machine")
}
func (s *diskSession) EndCheck() []bake.Step { return nil }
func (s *diskSession) Promote() []bake.Step  { return nil }

func (s *diskSession) Capture() []bake.Step {
	return []bake.Step{{Name: "upload", Do: func(ctx context.Context) error {
		for s.Blocks < 3 {
			*s.builder.log = append(*s.builder.log, "block")
			s.Blocks++
			if err := s.run.Checkpoint(ctx); err != nil {
				return err
			}
		}
		s.Made = true
		return nil
	}}}
}

func (s *diskSession) Artifact() bake.Artifact {
	if !s.Made {
		return nil
	}
	return diskArtifact{}
}

type diskArtifact struct{}

func (diskArtifact) ID() string                    { return "disk-1" }
func (diskArtifact) String() string                { return "disk-1" }
func (diskArtifact) IDs() map[string]string        { return nil }
func (diskArtifact) MarshalJSON() ([]byte, error)  { return json.Marshal("disk-1") }
func (diskArtifact) Destroy(context.Context) error { return nil }

// audit is a check of artifacts.
type audit struct {
	log *[]string
	err error
}

func (a audit) Check(context.Context, bake.Machine) error { return errors.New("there is no machine") }

func (a audit) CheckArtifact(_ context.Context, artifact bake.Artifact) error {
	*a.log = append(*a.log, "audit "+artifact.ID())
	return a.err
}

func TestMachinelessSession(t *testing.T) {
	var log []string
	img := &bake.Image{
		Name: "disk", Builder: diskBuilder{baketest.NewBuilder(nil), &log}, Checks: []bake.Check{audit{&log, nil}},
		Steps: []bake.Step{{Name: "look", At: bake.BeforeProvision, Do: func(context.Context) error { return nil }}},
	}
	results, err := bake.Bake(t.Context(), &bake.Options{Limits: &bake.Limits{Machines: 1}}, img)
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	if want := []string{"block", "block", "block", "audit disk-1"}; !slices.Equal(log, want) {
		t.Errorf("the build did %q, want %q", log, want)
	}
	var steps []string
	for _, s := range results[0].Steps {
		steps = append(steps, s.Name)
	}
	if want := []string{"look", "upload", "check 1: audit"}; !slices.Equal(steps, want) {
		t.Errorf("steps = %q, want %q", steps, want)
	}
	wrong := errors.New("a key is in the image")
	img.Checks = []bake.Check{audit{&log, wrong}}
	if _, err := bake.Bake(t.Context(), nil, img); !errors.Is(err, wrong) {
		t.Errorf("Bake with a failing check = %v, want %v", err, wrong)
	}
}

// TestCheckpoint continues in the middle of a step.
func TestCheckpoint(t *testing.T) {
	var log []string
	img := &bake.Image{Name: "disk", Builder: diskBuilder{baketest.NewBuilder(nil), &log}}
	store := &killingStore{Store: bake.MemoryStore(), blocks: 2}
	_, err := bake.Bake(t.Context(), &bake.Options{Store: store}, img)
	if err == nil {
		t.Fatal("Bake with a store that fails succeeded")
	}
	if !slices.Equal(log, []string{"block", "block"}) {
		t.Fatalf("the build did %q before it was killed, want two blocks", log)
	}
	rec := store.last
	if _, err := bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{rec}}, img); err != nil {
		t.Fatalf("Bake of the record: %v", err)
	}
	if !slices.Equal(log, []string{"block", "block", "block"}) {
		t.Errorf("the builds did %q, want three blocks", log)
	}
}

// killingStore fails like a process that is killed once the record has a number of blocks.
type killingStore struct {
	bake.Store
	blocks int
	last   *bake.Record
}

func (s *killingStore) Save(ctx context.Context, r *bake.Record) error {
	if s.last == nil {
		var state diskSession
		if err := json.Unmarshal(r.Session, &state); err == nil && state.Blocks == s.blocks {
			kept := *r
			kept.Steps = slices.Clone(r.Steps)
			s.last = &kept
		}
	}
	if s.last != nil {
		return &bake.PermanentError{Err: errors.New("the process was killed")}
	}
	return s.Store.Save(ctx, r)
}
