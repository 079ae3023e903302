package bake_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// records is a Store that can freeze the record of an image.
type records struct {
	bake.Store

	mu     sync.Mutex
	frozen map[string]bool // images whose process was killed
}

func newRecords() *records { return &records{Store: bake.MemoryStore(), frozen: map[string]bool{}} }

func (r *records) Save(ctx context.Context, rec *bake.Record) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen[rec.Image] {
		return nil
	}
	return r.Store.Save(ctx, rec)
}

func (r *records) freeze(image string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen[image] = true
}

// of returns the records of images for another process with another store.
func (r *records) of(t *testing.T, images ...string) []*bake.Record {
	t.Helper()
	builds, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list := make([]*bake.Record, 0, len(images))
	for _, name := range images {
		for _, build := range builds {
			rec, err := r.Load(t.Context(), build)
			if err != nil {
				t.Fatal(err)
			}
			if rec.Image == name {
				rec.Revision, rec.Lease = 0, bake.Lease{}
				list = append(list, rec)
			}
		}
	}
	if len(list) != len(images) {
		t.Fatalf("%d records, want those of %q", len(list), images)
	}
	return list
}

// undying is an in-memory builder without undos, like that of a killed process.
type undying struct{ *baketest.Builder }

var _ bake.InputDeclarer = undying{} // the same as that of the Builder

func (u undying) Begin(img *bake.Image, run *bake.Run) (bake.Session, error) {
	s, err := u.Builder.Begin(img, run)
	return undyingSession{s}, err
}

type undyingSession struct{ bake.Session }

func (s undyingSession) MarshalJSON() ([]byte, error) { return json.Marshal(s.Session) }
func (s undyingSession) Launch() []bake.Step          { return withoutUndo(s.Session.Launch()) }
func (s undyingSession) Capture() []bake.Step         { return withoutUndo(s.Session.Capture()) }

func withoutUndo(steps []bake.Step) []bake.Step {
	for i := range steps {
		steps[i].Undo = nil
	}
	return steps
}

// A life defines an image whose provisioners, checks and publishers record that they
// ran. The one named kill simulates that the process is killed.
type life struct {
	done  []string
	kill  string
	store *records
}

func (l *life) does(what string) error {
	l.done = append(l.done, what)
	if what == l.kill {
		l.store.freeze("web")
		return errPlanted
	}
	return nil
}

func (l *life) image(b bake.Builder) *bake.Image {
	on := func(what string) func(context.Context, bake.Machine) error {
		return func(ctx context.Context, m bake.Machine) error {
			if err := m.Run(ctx, bake.Sh("true")); err != nil {
				return err
			}
			return l.does(what)
		}
	}
	return &bake.Image{
		Name: "web", Builder: b,
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: on("a")}, bake.ProvisionFunc{Do: on("b")}},
		Checks:       []bake.Check{bake.CheckFunc{Do: on("c")}, bake.CheckFunc{Do: on("d")}},
		Publishers: []bake.Publisher{
			bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error { return l.does("e") }},
			bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error { return l.does("f") }},
		},
	}
}

// killed returns the record of a build whose process was killed in the given part.
func killed(t *testing.T, memory *baketest.Builder, at string) *bake.Record {
	t.Helper()
	l := &life{kill: at, store: newRecords()}
	if _, err := bake.Bake(t.Context(), &bake.Options{Store: l.store}, l.image(undying{memory})); !errors.Is(err, errPlanted) {
		t.Fatalf("Bake of the killed build = %v, want the planted error", err)
	}
	return l.store.of(t, "web")[0]
}

// A resumed build repeats only the step that was running, on a connected machine.
func TestResume(t *testing.T) {
	for at, want := range map[string]string{"a": "abcdef", "b": "bcdef", "c": "cdef", "d": "def", "e": "ef", "f": "f"} {
		memory := baketest.NewBuilder(nil)
		rec := killed(t, memory, at)
		l := &life{store: newRecords()}
		var resumed []string
		opts := &bake.Options{Resume: []*bake.Record{rec}, Store: l.store, Observe: func(e bake.Event) {
			if e.Kind == bake.BuildResumed || e.Kind == bake.BuildStarted {
				resumed = append(resumed, string(e.Kind), e.Step)
			}
		}}
		results, err := bake.Bake(t.Context(), opts, l.image(memory))
		if err != nil {
			t.Errorf("killed in %s: %v", at, err)
			continue
		}
		if got := strings.Join(l.done, ""); got != want {
			t.Errorf("killed in %s: parts run after resume %s, want %s", at, got, want)
		}
		r := results[0]
		if r.Build != rec.Build || !r.Started.Equal(rec.Started) || r.Status != bake.StatusBaked {
			t.Errorf("killed in %s: build %s of %v %s, want %s of %v", at, r.Build, r.Started, r.Status, rec.Build, rec.Started)
		}
		if step := rec.Steps[len(rec.Steps)-1].Name; !slices.Equal(resumed, []string{"build resumed", step}) {
			t.Errorf("killed in %s: events %q, want BuildResumed at %s", at, resumed, step)
		}
		if existing := memory.Existing(); len(existing) != 1 || existing[0] != r.Artifact.ID() {
			t.Errorf("killed in %s: existing %v, want only %v", at, existing, r.Artifact)
		}
		// Resuming an ended build only returns its result.
		opts.Resume = l.store.of(t, "web")
		again, err := bake.Bake(t.Context(), opts, l.image(memory))
		if err != nil || again[0].Status != bake.StatusBaked || again[0].Artifact.ID() != r.Artifact.ID() || strings.Join(l.done, "") != want {
			t.Errorf("killed in %s: Bake of the ended build = %v, %v; parts run %v", at, again[0], err, l.done)
		}
	}
}

// A build that cannot continue is cleaned up and keeps its error.
func TestResumeCleansUp(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*bake.Record)
		want   string
		status bake.Status
	}{
		"failed": {func(rec *bake.Record) {
			rec.Steps[3].State, rec.Steps[3].Error = bake.StepFailed, "out of paper"
		}, "image web: provision 2: out of paper", bake.StatusFailed},
		"cleaning up": {func(rec *bake.Record) {
			rec.Steps[3].State, rec.Steps[3].Error, rec.Error = bake.StepUndone, "out of paper", "another"
		}, "image web: provision 2: out of paper", bake.StatusFailed},
		"ending": {func(rec *bake.Record) { rec.Error = "stopped" }, "image web: stopped", bake.StatusFailed},
		"launching again": {func(rec *bake.Record) {
			rec.Steps[3].State = bake.StepUndone
		}, "image web: clean-up had started", bake.StatusFailed},
		"expired":  {func(rec *bake.Record) { rec.Expires = time.Now().Add(-time.Second) }, "expired at", bake.StatusFailed},
		"canceled": {func(*bake.Record) {}, "context canceled", bake.StatusCanceled},
	} {
		memory := baketest.NewBuilder(nil)
		rec := killed(t, memory, "b")
		if rec.Steps[3].Name != "provision 2" {
			t.Fatalf("steps %v", rec.Steps)
		}
		test.change(rec)
		l := &life{store: newRecords()}
		ctx, cancel := context.WithCancel(t.Context())
		if test.status == bake.StatusCanceled {
			cancel()
		}
		results, err := bake.Bake(ctx, &bake.Options{Resume: []*bake.Record{rec}, Store: l.store}, l.image(memory))
		cancel()
		if err == nil || !strings.Contains(err.Error(), test.want) || results[0].Status != test.status {
			t.Errorf("%s: status %s, error %v; want %q", name, results[0].Status, err, test.want)
		}
		if left := memory.Existing(); len(left) > 0 || len(l.done) > 0 {
			t.Errorf("%s: existing %v, parts run %v; want none", name, left, l.done)
		}
		if test.status != bake.StatusFailed {
			continue
		}
		if again, againErr := bake.Bake(t.Context(), &bake.Options{Resume: l.store.of(t, "web")}, l.image(memory)); name != "expired" &&
			(againErr == nil || againErr.Error() != err.Error() || again[0].Status != test.status) {
			t.Errorf("%s: Bake of the ended build: status %s, error %v; want %v", name, again[0].Status, againErr, err)
		}
	}
}

// Each image of a chain resumes at its own step. If the source failed, the leftovers
// of the dependent build are removed.
func TestResumeLayers(t *testing.T) {
	chain := func(b bake.Builder, lay func(context.Context, bake.Machine) error) []*bake.Image {
		base := &bake.Image{Name: "base", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Put(ctx, &bake.Upload{Content: strings.NewReader("once"), Dest: "/base", Sudo: true})
		}}}}
		return []*bake.Image{base, {Name: "layer", Builder: b, From: base, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: lay}}}}
	}
	for _, failed := range []bool{false, true} {
		memory, store := baketest.NewBuilder(nil), newRecords()
		_, err := bake.Bake(t.Context(), &bake.Options{Store: store}, chain(undying{memory}, func(context.Context, bake.Machine) error {
			store.freeze("layer")
			return errPlanted
		})...)
		if left := memory.Existing(); !errors.Is(err, errPlanted) || len(left) != 2 {
			t.Fatalf("existing %v, error %v; want 2 resources and the planted error", left, err)
		}
		recs := store.of(t, "base", "layer")
		if failed {
			recs[0].Good, recs[0].Status, recs[0].Error = false, bake.StatusFailed, "out of paper"
		}
		results, err := bake.Bake(t.Context(), &bake.Options{Resume: recs}, chain(memory, nothingOn)...)
		if failed {
			if left := memory.Existing(); !errors.Is(err, bake.ErrSourceFailed) || results[1].Status != bake.StatusSkipped || len(left) != 1 {
				t.Errorf("layer: status %s, existing %v, error %v; want skipped, 1 resource, ErrSourceFailed", results[1].Status, left, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := memory.ReadFile(results[1].Artifact.ID(), "/base"); string(got) != "once" || err != nil {
			t.Errorf("ReadFile(/base) = %q, %v; want \"once\"", got, err)
		}
	}
}

func nothingOn(context.Context, bake.Machine) error { return nil }

func TestResumeValidates(t *testing.T) {
	memory := baketest.NewBuilder(nil)
	rec := killed(t, memory, "b")
	existing := memory.Existing()
	other := (&life{}).image(memory)
	other.Provisioners = slices.Insert(other.Provisioners, 1, other.Provisioners[0])
	other.Provisioners[1], other.Provisioners[2] = other.Provisioners[2], other.Provisioners[1]
	other.Provisioners = other.Provisioners[:1]
	foreign := *rec
	foreign.Image = "db"
	corrupt := *rec
	corrupt.Session = json.RawMessage(`{"machine": 7}`)
	same := (&life{}).image(memory)
	for _, test := range []struct {
		img  *bake.Image
		recs []*bake.Record
		want string
	}{
		{same, []*bake.Record{nil}, "Options.Resume[0]: is nil"},
		{same, []*bake.Record{&foreign}, `Options.Resume[0]: build ` + rec.Build + `: image "db" is not among the images`},
		{same, []*bake.Record{rec, rec}, "image web: Options.Resume[1]: build " + rec.Build + ": duplicate record"},
		{same, []*bake.Record{&corrupt}, "image web: Options.Resume: build " + rec.Build + ": recorded session: "},
		{other, []*bake.Record{rec}, "image web: Options.Resume: build " + rec.Build + `: the definition changed: step "provision 2" is not at its position`},
	} {
		_, err := bake.Bake(t.Context(), &bake.Options{Resume: test.recs, OnChange: bake.RefuseChange}, test.img)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Bake = %v, want %q", err, test.want)
		}
	}
	if got := memory.Existing(); !slices.Equal(got, existing) {
		t.Errorf("existing %v, want %v", got, existing)
	}
}
