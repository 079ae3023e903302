package bake_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// publishes returns an image with two publishers, which call publish with their names.
func publishes(memory *baketest.Builder, publish func(ctx context.Context, name string, a bake.Artifact) error) *bake.Image {
	img := &bake.Image{Name: "web", Builder: memory, Fingerprint: "1"}
	for _, name := range []string{"announce", "notify"} {
		img.Publishers = append(img.Publishers, bake.PublisherFunc{Name: name, Do: func(ctx context.Context, a bake.Artifact) error {
			return publish(ctx, name, a)
		}})
	}
	return img
}

// TestPublishReused bakes an image whose first publisher fails, and reuses it.
func TestPublishReused(t *testing.T) {
	memory := baketest.NewBuilder(nil)
	planted := errors.New("planted")
	var calls []string
	var failing string
	img := publishes(memory, func(_ context.Context, name string, a bake.Artifact) error {
		calls = append(calls, name+" "+a.ID())
		if name == failing {
			return planted
		}
		return nil
	})
	id := ""
	for i, test := range []struct {
		failing string
		reused  bool
		status  bake.Status
		steps   int
		want    []string
	}{
		{failing: "announce", status: bake.StatusFailed, want: []string{"announce"}},
		{status: bake.StatusReused, steps: 1},
		{reused: true, status: bake.StatusReused, steps: 3, want: []string{"announce", "notify"}},
		{reused: true, failing: "notify", status: bake.StatusFailed, steps: 3, want: []string{"announce", "notify"}},
		{reused: true, failing: "announce", status: bake.StatusFailed, steps: 2, want: []string{"announce"}},
	} {
		calls, failing, img.PublishReused = nil, test.failing, test.reused
		results, err := bake.Bake(t.Context(), nil, img)
		r := results[0]
		if r.Status != test.status || errors.Is(err, planted) != (test.failing != "") || r.Artifact == nil {
			t.Fatalf("Bake %d = %s, %v with artifact %v, want %s with one", i+1, r.Status, err, r.Artifact, test.status)
		}
		if i == 0 {
			id = r.Artifact.ID()
		} else if len(r.Steps) != test.steps {
			t.Errorf("Bake %d has the steps %+v, want %d", i+1, r.Steps, test.steps)
		}
		want := make([]string, 0, len(test.want))
		for _, name := range test.want {
			want = append(want, name+" "+id)
		}
		if !slices.Equal(calls, want) {
			t.Errorf("publishers of bake %d: %q, want %q", i+1, calls, want)
		}
		if named, ok := errors.AsType[*bake.Error](err); ok && named.Step != "publish 1: "+failing && named.Step != "publish 2: "+failing {
			t.Errorf("error of bake %d = %v, want the step of %s in it", i+1, err, failing)
		}
		if existing := memory.Existing(); !slices.Equal(existing, []string{id}) {
			t.Errorf("existing after bake %d: %v, want %s", i+1, existing, id)
		}
	}
}

// TestResumeWhilePublishingReused goes on with a process that ended while it published an
// artifact that it had found.
func TestResumeWhilePublishingReused(t *testing.T) {
	memory := baketest.NewBuilder(nil)
	store := bake.MemoryStore()
	var calls []string
	var rec *bake.Record
	img := publishes(memory, func(ctx context.Context, name string, _ bake.Artifact) error {
		calls = append(calls, name)
		if name != "notify" || len(calls) != 4 {
			return nil
		}
		var err error
		rec, err = store.Load(ctx, bake.RunFromContext(ctx).ID)
		return err
	})
	img.PublishReused = true
	for range 2 {
		if _, err := bake.Bake(t.Context(), &bake.Options{Store: store}, img); err != nil {
			t.Fatal(err)
		}
	}
	rec.Revision, rec.Lease = 0, bake.Lease{}
	if err := bake.Undo(t.Context(), nil, img, rec); err != nil {
		t.Errorf("Undo = %v, want nil", err)
	}
	calls = nil
	results, err := bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{rec}, OnChange: bake.RefuseChange}, img)
	if err != nil || results[0].Status != bake.StatusReused || results[0].Build != rec.Build {
		t.Fatalf("Bake that resumes = %v, %v, want build %s reused", results, err, rec.Build)
	}
	if want := []string{"announce", "notify"}; !slices.Equal(calls, want) {
		t.Errorf("publishers = %q, want %q", calls, want)
	}
	if existing := memory.Existing(); len(existing) != 1 {
		t.Errorf("existing = %v, want the image", existing)
	}
}
