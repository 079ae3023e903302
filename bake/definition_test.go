package bake_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// writes is a provisioner of a user's package: its fields are its inputs.
type writes struct {
	Text   string
	Secret bake.Secret
	Nested []bake.Provisioner
	Func   func()
	notes  string
}

func (w writes) Provision(ctx context.Context, m bake.Machine) error {
	var old strings.Builder
	_ = m.Get(ctx, &bake.Download{Source: "/work", Content: &old}) // there may be none
	return m.Put(ctx, &bake.Upload{Content: strings.NewReader(old.String() + w.Text), Dest: "/work", Sudo: true})
}

// stops is a provisioner that suspends the build.
type stops struct{ suspend func() }

func (s stops) Provision(context.Context, bake.Machine) error { s.suspend(); return nil }

func layered(b bake.Builder, first, second bake.Provisioner) []*bake.Image {
	base := &bake.Image{Name: "base", Builder: b, Provisioners: []bake.Provisioner{first}}
	return []*bake.Image{base, {Name: "top", Builder: b, From: base, Provisioners: []bake.Provisioner{second, stops{func() {}}, writes{Text: "end"}}}}
}

// TestResumeChangedDefinition edits a definition of two layers while no process runs. The
// image must hold the work of the new definition only, each part once.
func TestResumeChangedDefinition(t *testing.T) {
	for name, test := range map[string]struct {
		edit   func([]*bake.Image)
		want   string // in /work of top
		reason string // why top begins again
	}{
		"nothing":    {func([]*bake.Image) {}, "base top end", ""},
		"later step": {func(l []*bake.Image) { l[1].Provisioners[2] = writes{Text: "new"} }, "base top new", ""},
		"notes":      {func(l []*bake.Image) { l[1].Provisioners[0] = writes{Text: "top ", notes: "new"} }, "base top end", ""},
		"done step":  {func(l []*bake.Image) { l[1].Provisioners[0] = writes{Text: "edited "} }, "base edited end", `step "provision 1: writes" differs`},
		"secret":     {func(l []*bake.Image) { l[1].Provisioners[0] = writes{Text: "top ", Secret: bake.NewSecret("rotated!")} }, "base top end", "differs"},
		"nested": {func(l []*bake.Image) {
			l[1].Provisioners[0] = writes{Text: "top ", Nested: []bake.Provisioner{writes{Text: "x"}}}
		}, "base top end", "differs"},
		"removed step": {func(l []*bake.Image) { l[1].Provisioners = l[1].Provisioners[1:] }, "base end", "is not at its position"},
		"tags":         {func(l []*bake.Image) { l[1].Tags = map[string]string{"a": "b"} }, "base top end", "tags"},
		"base":         {func(l []*bake.Image) { l[0].Provisioners[0] = writes{Text: "other "} }, "other top end", "source image was baked again"},
		"base and step": {func(l []*bake.Image) {
			l[0].Provisioners[0] = writes{Text: "other "}
			l[1].Provisioners[0] = writes{Text: "more "}
		}, "other more end", "differs"},
	} {
		t.Run(name, func(t *testing.T) {
			memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
			ctx, cancel := context.WithCancelCause(t.Context())
			define := func() []*bake.Image { return layered(memory, writes{Text: "base "}, writes{Text: "top "}) }
			images := define()
			images[1].Provisioners[1] = stops{func() { cancel(bake.ErrSuspended) }}
			if _, err := bake.Bake(ctx, &bake.Options{Store: store}, images...); !errors.Is(err, bake.ErrSuspended) {
				t.Fatalf("Bake = %v, want %v", err, bake.ErrSuspended)
			}
			edited := define()
			test.edit(edited)
			recs := recordsOf(t, store, "base", "top")
			if test.reason != "" {
				before := memory.Existing()
				_, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: recs, OnChange: bake.RefuseChange}, edited...)
				if !errors.Is(err, bake.ErrDefinitionChanged) || len(memory.Existing()) != len(before) {
					t.Errorf("Bake with RefuseChange = %v, want %v and no change", err, bake.ErrDefinitionChanged)
				}
				if recs = recordsOf(t, store, "base", "top"); recs[1].Lease.Owner != "" {
					t.Fatalf("record after the refusal = %+v, want a free one", recs[1])
				}
			}
			said := ""
			results, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: recs, Observe: func(e bake.Event) {
				if e.Kind == bake.BuildBegunAgain && e.Image == "top" {
					said = e.Text
				}
			}}, edited...)
			if err != nil {
				t.Fatal(err)
			}
			top := results[1]
			if got, err := memory.ReadFile(top.Artifact.ID(), "/work"); string(got) != test.want || err != nil {
				t.Errorf("/work = %q, %v, want %q", got, err, test.want)
			}
			if !strings.Contains(top.BegunAgain, test.reason) || (top.BegunAgain == "") != (test.reason == "") || said != top.BegunAgain || top.Build != recs[1].Build {
				t.Errorf("Result.BegunAgain = %q, said %q, want %q for build %s", top.BegunAgain, said, test.reason, recs[1].Build)
			}
			images2 := 2
			if strings.HasPrefix(test.want, "other") {
				images2 = 3 // the first base was good
			}
			if got := memory.Existing(); len(got) != images2 {
				t.Errorf("existing %v, want %d images", got, images2)
			}
			rec, err := store.Load(t.Context(), top.Build)
			if err != nil || !rec.Ended() || rec.Artifact.ID != top.Artifact.ID() || rec.Source != results[0].Artifact.ID() {
				t.Errorf("record of top: %+v, %v; want ended, with its artifact and source", rec, err)
			}
		})
	}
}

// TestBeginAgainSurvivesKill kills the process that undoes a build of another definition.
// The next one goes on with that, also with the first definition.
func TestBeginAgainSurvivesKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, store := baketest.NewBuilder(nil), newRecords()
		ctx, cancel := context.WithCancelCause(t.Context())
		define := func(text string, suspend func(), undone func() error) *bake.Image {
			return &bake.Image{Name: "web", Builder: memory, Provisioners: []bake.Provisioner{writes{Text: text}, stops{suspend}}, Steps: []bake.Step{{
				Name: "register", Do: func(context.Context) error { return nil },
				Undo: func(context.Context, bake.Outcome) error { return undone() },
			}}}
		}
		opts := &bake.Options{Store: store}
		succeed := func() error { return nil }
		if _, err := bake.Bake(ctx, opts, define("one", func() { cancel(bake.ErrSuspended) }, succeed)); !errors.Is(err, bake.ErrSuspended) {
			t.Fatal(err)
		}
		opts.Resume = []*bake.Record{onlyRecord(t, store)}
		_, err := bake.Bake(t.Context(), opts, define("two", func() {}, func() error {
			store.freeze("web")
			return &bake.PermanentError{Err: errPlanted}
		}))
		if !errors.Is(err, errPlanted) {
			t.Fatal(err)
		}
		store.frozen = map[string]bool{}
		rec := onlyRecord(t, store)
		if rec.Replacing == "" || rec.Again != 0 {
			t.Fatalf("record of the killed process = %+v, want one that is replaced", rec)
		}
		opts.Resume = []*bake.Record{rec}
		results, err := bake.Bake(t.Context(), opts, define("one", func() {}, succeed))
		if err != nil || results[0].BegunAgain == "" || results[0].Status != bake.StatusBaked {
			t.Fatalf("Bake = %v, %v, want a build begun again", results, err)
		}
		if got, err := memory.ReadFile(results[0].Artifact.ID(), "/work"); string(got) != "one" || err != nil || len(memory.Existing()) != 1 {
			t.Errorf("/work = %q, %v, existing %v; want one", got, err, memory.Existing())
		}
	})
}

// TestUndoWithoutDefinition removes a build of which only the record and a builder are
// left, and one whose step was renamed.
func TestUndoWithoutDefinition(t *testing.T) {
	for name, img := range map[string]func(bake.Builder) *bake.Image{
		"builder only": func(b bake.Builder) *bake.Image { return &bake.Image{Builder: b} },
		"renamed step": func(b bake.Builder) *bake.Image {
			return &bake.Image{Name: "web", Builder: b, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "renamed", Do: nothingOn}}}
		},
	} {
		for _, registers := range []bool{false, true} {
			memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
			ctx, cancel := context.WithCancelCause(t.Context())
			def := &bake.Image{
				Name: "web", Builder: memory,
				Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "original", Do: nothingOn}},
				Checks:       []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { cancel(bake.ErrSuspended); return nil }}},
			}
			if registers {
				def.Steps = []bake.Step{{Name: "register", At: bake.BeforeCapture, Do: func(context.Context) error { return nil }, Undo: func(context.Context, bake.Outcome) error { return nil }}}
			}
			if _, err := bake.Bake(ctx, &bake.Options{Store: store}, def); !errors.Is(err, bake.ErrSuspended) {
				t.Fatal(err)
			}
			if len(memory.Existing()) != 2 {
				t.Fatalf("existing %v, want an image and a check machine", memory.Existing())
			}
			var skipped []string
			opts := &bake.Options{Store: store, Observe: func(e bake.Event) {
				if e.Kind == bake.UndoSkipped {
					skipped = append(skipped, e.Step)
				}
			}}
			err := bake.Undo(t.Context(), opts, img(memory), onlyRecord(t, store))
			if errors.Is(err, bake.ErrUndoSkipped) != registers || (err != nil) != registers || len(memory.Existing()) != 0 {
				t.Errorf("%s: Undo = %v, existing %v; want ErrUndoSkipped %t, nothing", name, err, memory.Existing(), registers)
			}
			if (len(skipped) == 1 && skipped[0] == "register") != registers {
				t.Errorf("%s: UndoSkipped events for %q, want register: %t", name, skipped, registers)
			}
			if rec := onlyRecord(t, store); rec.Lease.Owner != "" || !rec.Ended() {
				t.Errorf("%s: record after Undo = %+v, want free, ended", name, rec)
			}
		}
	}
	rec := &bake.Record{Version: bake.RecordVersion, Build: firstID, Image: "web", Builder: "ec2.Builder", Steps: []bake.StepRecord{{Name: "launch instance", State: bake.StepDone, Undo: true}}}
	err := bake.Undo(t.Context(), nil, &bake.Image{Builder: baketest.NewBuilder(nil)}, rec)
	if err == nil || !strings.Contains(err.Error(), `recorded step "launch instance" of ec2.Builder not found in baketest.Builder`) {
		t.Errorf("Undo of another platform's record = %v, want an error", err)
	}
	if err := bake.Undo(t.Context(), nil, nil, rec); err == nil {
		t.Error("Undo without an image = nil, want an error")
	}
	if err := bake.Undo(t.Context(), nil, &bake.Image{}, rec); err == nil || !strings.Contains(err.Error(), "Image.Builder: is required") {
		t.Errorf("Undo without a builder = %v, want an error", err)
	}
}

// TestRecordOfSuccess reads the record as the owner of a store does.
func TestRecordOfSuccess(t *testing.T) {
	memory, store := baketest.NewBuilder(nil), bake.MemoryStore()
	var events []bake.Event
	opts := &bake.Options{Store: store, Labels: map[string]string{"request": "42"}, Observe: func(e bake.Event) { events = append(events, e) }}
	img := &bake.Image{Name: "web", Builder: memory, Steps: []bake.Step{{
		Name: "publish it", At: bake.AfterPromote, Do: func(context.Context) error { return nil }, Undo: func(context.Context, bake.Outcome) error { return nil },
	}}}
	results, err := bake.Bake(t.Context(), opts, img)
	if err != nil {
		t.Fatal(err)
	}
	rec := onlyRecord(t, store)
	if rec.Labels["request"] != "42" || rec.Artifact == nil || rec.Artifact.ID != results[0].Artifact.ID() || string(rec.Artifact.Data) != `{"id":"`+rec.Artifact.ID+`"}` || rec.Builder != "baketest.Builder" {
		t.Errorf("record = %+v, artifact %+v; want label, artifact and builder", rec, rec.Artifact)
	}
	for _, step := range rec.Steps {
		if step.State != bake.StepDone || !step.Cleaned {
			t.Errorf("step %q of a good build is %s, cleaned %t; want done, cleaned", step.Name, step.State, step.Cleaned)
		}
	}
	for i, e := range events {
		if e.Number != int64(i)+1 {
			t.Errorf("event %d (%s) has number %d, want %d", i, e.Kind, e.Number, i+1)
		}
	}
	if last := events[len(events)-1]; last.Kind != bake.BuildFinished || last.Artifact != rec.Artifact.ID {
		t.Errorf("last event = %+v, want build finished with the artifact's id", last)
	}
	last := events[len(events)-1].Number
	rec.Status, rec.Steps, rec.Good = "", nil, false
	rec.Revision++
	if err := store.Save(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	opts.Resume, events = []*bake.Record{rec}, nil
	if _, err := bake.Bake(t.Context(), opts, img); err != nil || events[0].Number <= last {
		t.Errorf("first event of a resumed build has number %d, error %v; want more than %d", events[0].Number, err, last)
	}
}

// TestInputsFields compares values that a digest must tell apart, or must not.
func TestInputsFields(t *testing.T) {
	type inner struct{ N int }
	type value struct {
		S    string
		P    *inner
		M    map[string]any
		L    []inner
		A    netip.Addr
		F    func()
		E    error
		self *value
		Self *value
	}
	sum := func(v any) string {
		in := new(bake.Inputs)
		in.Fields("v", v)
		return in.Sum()
	}
	full := func() *value {
		v := &value{S: "s", P: &inner{1}, M: map[string]any{"a": 1, "b": []string{"x"}}, L: []inner{{1}, {2}}, A: netip.MustParseAddr("::1"), F: func() {}}
		v.Self = v
		return v
	}
	want := sum(full())
	for name, change := range map[string]func(*value){
		"string": func(v *value) { v.S = "t" }, "pointer": func(v *value) { v.P = &inner{2} }, "nil pointer": func(v *value) { v.P = nil },
		"map value": func(v *value) { v.M["a"] = 2 }, "map key": func(v *value) { v.M["c"] = nil }, "map type": func(v *value) { v.M["a"] = int64(1) },
		"order": func(v *value) { v.L = []inner{{2}, {1}} }, "length": func(v *value) { v.L = v.L[:1] }, "address": func(v *value) { v.A = netip.MustParseAddr("::2") },
		"func": func(v *value) { v.F = nil }, "interface": func(v *value) { v.E = bake.Invalid("x", "y") }, "no cycle": func(v *value) { v.Self = nil },
	} {
		v := full()
		change(v)
		if sum(v) == want {
			t.Errorf("%s: the sum did not change", name)
		}
	}
	same := full()
	same.F, same.self = func() { _ = same }, same
	for range 20 {
		if sum(same) != want || sum(*same) == "" {
			t.Error("the sum of equal values changed")
		}
	}
}

// recordsOf returns the records of images.
func recordsOf(t *testing.T, store bake.Store, images ...string) []*bake.Record {
	t.Helper()
	all, err := bake.Records(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]*bake.Record, len(images))
	for _, rec := range all {
		if i := slices.Index(images, rec.Image); i >= 0 {
			list[i] = rec
		}
	}
	if slices.Contains(list, nil) {
		t.Fatalf("records %v, want those of %q", list, images)
	}
	return list
}
