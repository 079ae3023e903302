package baketest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Platform describes an empty platform for one test of the conformance suite.
type Platform struct {
	// Builder bakes on the platform, from its own source. It is used for any number
	// of builds.
	Builder bake.Builder

	// Layers bakes images made From another one. If nil, Builder is used.
	Layers bake.Builder

	// Existing lists all resources of the kinds that builds create, except those that
	// existed from the start.
	Existing func() []string

	// Clock is the platform's clock. If nil, the system clock is used.
	Clock clock.Clock
}

// ConformOptions configures the conformance suite of a Builder. The zero value is ready
// to use.
type ConformOptions struct {
	// Run runs each test of the suite: it must call test once, with t or a test within
	// t, and return after it. If nil, the test is called with t. For a platform in memory,
	// set it to synctest.Test of package testing: then waiting takes no time, and a slow
	// machine fails no test. The platform is made within Run.
	Run func(t *testing.T, test func(t *testing.T))

	// Breaks chooses the steps of a build that the suite breaks and repeats, by name; those
	// of a machine that checks begin with "check: ". If nil, all are. A second configuration
	// of a Builder can be tested with the steps that it does otherwise.
	Breaks func(step string) bool

	// Parallel runs the tests of the suite beside each other, as testing.T.Parallel does:
	// for a platform that lets bakes wait. The func that makes a platform is then called by
	// several goroutines at once, and the tests end after Conform has returned.
	Parallel bool
}

// Conform tests that a Builder fulfills the contract of bake.Builder and
// bake.Session. It calls fresh for a new platform for every test. It tests that:
//
//   - an image can be baked, layered, checked and destroyed;
//   - nothing is left after a failure, a cancellation or a crash before and after
//     every step;
//   - undo runs in reverse order, can be repeated, and needs only the record;
//   - a step that another process repeats creates nothing twice.
//
// To test a new platform, call Conform with a fake of that platform. A nil o is the same
// as the zero value.
func Conform(t *testing.T, fresh func(t *testing.T) Platform, o *ConformOptions) {
	t.Helper()
	c := newConformance(fresh, o)
	c.test(t, "bake", c.bakes)
	c.test(t, "layers and checks", c.layers)
	c.test(t, "failing check", c.failingCheck)
	c.test(t, "panic", c.panics)
	c.test(t, "undo order", c.undoOrder)
	c.test(t, "reuse", c.reuses)
	names, _ := c.undisturbed(t, image)
	for _, name := range c.chosen(names) {
		c.test(t, "fail before "+name, func(t *testing.T) { t.Helper(); c.breakStep(t, name, failBefore) })
		c.test(t, "fail after "+name, func(t *testing.T) { t.Helper(); c.breakStep(t, name, failAfter) })
		c.test(t, "cancel before "+name, func(t *testing.T) { t.Helper(); c.breakStep(t, name, cancelBefore) })
		c.test(t, "cancel after "+name, func(t *testing.T) { t.Helper(); c.breakStep(t, name, cancelAfter) })
		c.test(t, "crash after "+name, func(t *testing.T) { t.Helper(); c.crashes(t, name) })
	}
	c.restarts(t, image)
}

type conformance struct {
	fresh func(t *testing.T) Platform
	run   func(t *testing.T, test func(t *testing.T))

	breaks   func(step string) bool
	parallel bool
}

func newConformance(fresh func(t *testing.T) Platform, o *ConformOptions) *conformance {
	c := &conformance{fresh: fresh, run: func(t *testing.T, test func(t *testing.T)) { test(t) }} //nolint:thelper // runs a test
	if o == nil {
		return c
	}
	if o.Run != nil {
		c.run = o.Run
	}
	c.breaks, c.parallel = o.Breaks, o.Parallel
	return c
}

// chosen returns the steps to break.
func (c *conformance) chosen(names []string) []string {
	if c.breaks == nil {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !c.breaks(name) })
}

// test runs a test of the suite as a subtest.
func (c *conformance) test(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		if c.parallel {
			t.Parallel()
		}
		c.run(t, test)
	})
}

const (
	markerPath = "/opt/bakestone-conformance"
	marker     = "written by a provisioner\n"
)

// image returns a minimal definition that changes its machine and checks the change.
func image(name string, b bake.Builder) *bake.Image {
	return &bake.Image{
		Name:    name,
		Builder: b,
		Tags:    map[string]string{"purpose": "conformance"},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Put(ctx, &bake.Upload{Content: strings.NewReader(marker), Dest: markerPath, Sudo: true})
		}}},
		Checks: []bake.Check{bake.CheckFunc{Do: readMarker}},
	}
}

func readMarker(ctx context.Context, m bake.Machine) error {
	var got bytes.Buffer
	if err := m.Get(ctx, &bake.Download{Source: markerPath, Content: &got}); err != nil {
		return err
	}
	if got.String() != marker {
		return fmt.Errorf("%s holds %q, want %q", markerPath, got.String(), marker)
	}
	return nil
}

func (p Platform) options() *bake.Options { return &bake.Options{Clock: p.Clock} }

func (p Platform) wantNothing(t *testing.T) {
	t.Helper()
	if left := p.Existing(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func (c *conformance) bakes(t *testing.T) { //nolint:thelper // a test
	p := c.fresh(t)
	store := bake.DirStore(t.TempDir())
	opts := p.options()
	opts.Store = store
	results, err := bake.Bake(t.Context(), opts, image("one", p.Builder))
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	r := results[0]
	if r.Status != bake.StatusBaked || r.Artifact == nil {
		t.Fatalf("status %q, artifact %v, want an artifact", r.Status, r.Artifact)
	}
	if r.Artifact.ID() == "" || r.Artifact.String() == "" || !slices.Contains(values(r.Artifact.IDs()), r.Artifact.ID()) {
		t.Errorf("artifact: ID %q, String %q, IDs %v", r.Artifact.ID(), r.Artifact.String(), r.Artifact.IDs())
	}
	if data, err := json.Marshal(r.Artifact); err != nil || !json.Valid(data) || !bytes.Contains(data, []byte(r.Artifact.ID())) {
		t.Errorf("artifact as JSON: %s, %v; want its id in it", data, err)
	}
	rec, err := store.Load(t.Context(), r.Build)
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	if rec.Status != bake.StatusBaked || !rec.Good || len(rec.Steps) != len(r.Steps) {
		t.Errorf("record: status %q, good %t, %d steps, want baked, true, %d", rec.Status, rec.Good, len(rec.Steps), len(r.Steps))
	}
	if err := bake.Undo(t.Context(), opts, r.Image, rec); err != nil {
		t.Errorf("Undo of a good build: %v", err)
	}
	if len(p.Existing()) == 0 {
		t.Fatal("the platform holds nothing although an artifact was baked")
	}
	for range 2 {
		if err := r.Artifact.Destroy(t.Context()); err != nil {
			t.Fatalf("Destroy: %v", err)
		}
	}
	p.wantNothing(t)
}

func (c *conformance) layers(t *testing.T) { //nolint:thelper // a test
	p := c.fresh(t)
	base := image("base", p.Builder)
	layers := p.Layers
	if layers == nil {
		layers = p.Builder
	}
	top := &bake.Image{
		Name: "top", Builder: layers, From: base,
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: readMarker}},
		Checks:       base.Checks,
	}
	results, err := bake.Bake(t.Context(), p.options(), top, base)
	if err != nil {
		t.Fatalf("Bake: %v", err)
	}
	for _, r := range results {
		if err := r.Artifact.Destroy(t.Context()); err != nil {
			t.Errorf("Destroy %s: %v", r.Image.Name, err)
		}
	}
	p.wantNothing(t)
}

var errPlanted = errors.New("planted by the conformance suite")

func (c *conformance) failingCheck(t *testing.T) { //nolint:thelper // a test
	p := c.fresh(t)
	img := image("checked", p.Builder)
	img.Checks = []bake.Check{
		bake.CheckFunc{Do: readMarker}, // the check machine runs the candidate, not the builder's source
		bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return errPlanted }},
	}
	results, err := bake.Bake(t.Context(), p.options(), img)
	wantError(t, err, "check 2")
	if results[0].Artifact != nil {
		t.Errorf("artifact %v of an image whose check failed", results[0].Artifact)
	}
	p.wantNothing(t)
}

func (c *conformance) panics(t *testing.T) { //nolint:thelper // a test
	p := c.fresh(t)
	img := image("panicking", p.Builder)
	img.Provisioners = append(img.Provisioners, bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
		panic("planted")
	}})
	_, err := bake.Bake(t.Context(), p.options(), img)
	var panicked *bake.PanicError
	if !errors.As(err, &panicked) || panicked.Value != "planted" {
		t.Errorf("error %v, want the panic", err)
	}
	p.wantNothing(t)
}

func (c *conformance) undoOrder(t *testing.T) { //nolint:thelper // a test
	p := c.fresh(t)
	var done, undone []string
	watched := &tampered{
		Builder: p.Builder,
		do: func(step string, do func(context.Context) error) func(context.Context) error {
			return func(ctx context.Context) error {
				done = append(done, step)
				return do(ctx)
			}
		},
		undo: func(step string, undo undoFunc) undoFunc {
			return func(ctx context.Context, outcome bake.Outcome) error {
				undone = append(undone, step)
				return undo(ctx, outcome)
			}
		},
	}
	img := image("ordered", watched)
	img.Steps = []bake.Step{{Name: "planted", At: bake.AfterCapture, Do: func(context.Context) error { return errPlanted }}}
	_, err := bake.Bake(t.Context(), p.options(), img)
	wantError(t, err, "planted")
	if len(undone) == 0 {
		t.Error("no step was undone")
	}
	at := len(done)
	for _, step := range undone {
		i := slices.Index(done[:at], step)
		if i < 0 {
			t.Errorf("undone %v after done %v: not the reverse order", undone, done)
			break
		}
		at = i
	}
	p.wantNothing(t)
}

func (c *conformance) reuses(t *testing.T) { //nolint:thelper // a test
	p := c.fresh(t)
	if _, ok := bake.As[bake.Finder](p.Builder); !ok {
		t.Skip("the builder does not implement bake.Finder")
	}
	img := image("known", p.Builder)
	for i, want := range []struct {
		fingerprint string
		status      bake.Status
	}{{"1", bake.StatusBaked}, {"1", bake.StatusReused}, {"2", bake.StatusBaked}} {
		img.Fingerprint = want.fingerprint
		results, err := bake.Bake(t.Context(), p.options(), img)
		if err != nil {
			t.Fatalf("Bake %d: %v", i, err)
		}
		if results[0].Status != want.status {
			t.Errorf("Bake %d with fingerprint %s: %s, want %s", i, want.fingerprint, results[0].Status, want.status)
		}
	}
}

func values(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// wantError checks that err wraps errPlanted and names the step.
func wantError(t *testing.T, err error, step string) {
	t.Helper()
	var named *bake.Error
	if !errors.Is(err, errPlanted) || !errors.As(err, &named) || named.Step != step {
		t.Errorf("error %v, want the planted one in step %q", err, step)
	}
}
