package baketest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// A Builder is an in-memory bake.Builder for tests of definitions and of programs
// around Bake. Its machines are fake Machines, and its artifacts are copies of their
// files. It bakes in microseconds. All images that use a Builder share its machines
// and artifacts. Create one with [NewBuilder].
type Builder struct {
	options BuilderOptions

	mu       sync.Mutex
	count    int
	machines map[string]*held // by machine id
	images   map[string]*held // by image id
}

// BuilderOptions configures a Builder. The zero value is ready to use.
type BuilderOptions struct {
	// PrepareMachine, if not nil, is called with every new machine before provisioners run,
	// to prepare replies and files.
	PrepareMachine func(*Machine)

	// MachineOptions configures every new machine. If nil, every command succeeds.
	MachineOptions *MachineOptions
}

// held is a machine or an image with its origin.
type held struct {
	machine     *Machine
	run         string
	image       string
	fingerprint string
	source      string // id of the source's artifact
	made        time.Time
	promoted    bool
	count       int
}

var (
	_ bake.Builder = (*Builder)(nil)
	_ bake.Finder  = (*Builder)(nil)

	_ bake.Inspector = (*Builder)(nil)

	_ bake.InputDeclarer = (*Builder)(nil)
)

// NewBuilder returns a Builder without machines and artifacts. A nil o is the same as
// the zero value.
func NewBuilder(o *BuilderOptions) *Builder {
	b := &Builder{machines: map[string]*held{}, images: map[string]*held{}}
	if o != nil {
		b.options = *o
	}
	if b.options.MachineOptions == nil {
		b.options.MachineOptions = &MachineOptions{AnyCommand: true}
	}
	return b
}

// Existing returns the sorted ids of all images and machines.
func (b *Builder) Existing() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(slices.Sorted(maps.Keys(b.images)), slices.Sorted(maps.Keys(b.machines))...)
}

// ReadFile reads a file of an artifact.
func (b *Builder) ReadFile(imageID, path string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	img, ok := b.images[imageID]
	if !ok {
		return nil, fmt.Errorf("image %s not found", imageID)
	}
	return img.machine.ReadFile(path)
}

// Validate accepts every image.
func (b *Builder) Validate(*bake.Image) error { return nil }

// DeclareInputs declares the kind of the builder, which has no other inputs.
func (b *Builder) DeclareInputs(in *bake.Inputs) error {
	in.Value("builder", "memory")
	return nil
}

// Begin returns a session for an in-memory build.
func (b *Builder) Begin(_ *bake.Image, run *bake.Run) (bake.Session, error) {
	return &session{builder: b, run: run}, nil
}

// Find returns the newest promoted artifact of img with the fingerprint of run.
func (b *Builder) Find(_ context.Context, img *bake.Image, run *bake.Run) (bake.Artifact, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []string
	for id, h := range b.images {
		if h.promoted && h.image == img.Name && h.fingerprint == run.Fingerprint {
			found = append(found, id)
		}
	}
	if len(found) == 0 {
		return nil, bake.ErrNoArtifact
	}
	sort.Slice(found, func(i, j int) bool { return b.images[found[i]].count > b.images[found[j]].count })
	return &artifact{builder: b, id: found[0]}, nil
}

// Inspect describes the newest promoted artifact of img.
func (b *Builder) Inspect(_ context.Context, img *bake.Image, run *bake.Run) (*bake.Inspection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	newest := ""
	for id, h := range b.images {
		if h.promoted && h.image == img.Name && (newest == "" || h.count > b.images[newest].count) {
			newest = id
		}
	}
	if newest == "" {
		return nil, bake.ErrNoArtifact
	}
	h := b.images[newest]
	out := &bake.Inspection{Artifact: &artifact{builder: b, id: newest}, Created: h.made, Fingerprint: h.fingerprint, Source: h.source}
	if run.Source != nil {
		out.SourceNow = run.Source.ID()
	}
	return out, nil
}

func sourceOf(run *bake.Run) string {
	if run.Source == nil {
		return ""
	}
	return run.Source.ID()
}

// add stores h under a new id.
func (b *Builder) add(to map[string]*held, kind string, h *held) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	h.count = b.count
	id := fmt.Sprintf("%s-%d", kind, b.count)
	to[id] = h
	return id
}

// madeBy returns the id of what the run created, or "".
func (b *Builder) madeBy(all map[string]*held, run *bake.Run) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, h := range all {
		if h.run == run.ID {
			return id
		}
	}
	return ""
}

// drop removes and closes what the run created.
func (b *Builder) drop(from map[string]*held, kind string, run *bake.Run) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for id, h := range from {
		if h.run == run.ID {
			errs = append(errs, h.machine.Close())
			delete(from, id)
			run.Removed(kind, id)
		}
	}
	return errors.Join(errs...)
}

// A session is an in-memory build.
type session struct {
	builder *Builder
	run     *bake.Run

	Machine string `json:"machine,omitempty"`
	Image   string `json:"image,omitempty"`
}

func (s *session) Launch() []bake.Step {
	return []bake.Step{{Name: "launch machine", Do: s.launch, Undo: s.terminate}}
}

func (s *session) Capture() []bake.Step {
	return []bake.Step{
		{Name: "save image", Do: s.save, Undo: s.discard},
		s.removal(),
	}
}

func (s *session) EndCheck() []bake.Step { return []bake.Step{s.removal()} }

func (s *session) removal() bake.Step {
	return bake.Step{Name: "remove machine", Do: func(ctx context.Context) error { return s.terminate(ctx, bake.Succeeded) }}
}

func (s *session) Promote() []bake.Step {
	return []bake.Step{{Name: "promote image", Do: s.promote}}
}

func (s *session) Connect(context.Context) (bake.Machine, error) {
	s.builder.mu.Lock()
	defer s.builder.mu.Unlock()
	h, ok := s.builder.machines[s.Machine]
	if !ok {
		return nil, fmt.Errorf("machine %q not found", s.Machine)
	}
	h.machine.Open() // an earlier connection may have closed it
	return h.machine, nil
}

func (s *session) Artifact() bake.Artifact {
	if s.Image == "" {
		return nil
	}
	return &artifact{builder: s.builder, id: s.Image}
}

func (s *session) launch(context.Context) error {
	if s.Machine = s.builder.madeBy(s.builder.machines, s.run); s.Machine != "" {
		return nil // created by another process
	}
	m, err := s.boot()
	if err != nil {
		return err
	}
	if s.builder.options.PrepareMachine != nil {
		s.builder.options.PrepareMachine(m)
	}
	s.Machine = s.builder.add(s.builder.machines, "machine", &held{machine: m, run: s.run.ID})
	s.run.Created("machine", s.Machine)
	return nil
}

func (s *session) boot() (*Machine, error) {
	m := NewMachine(s.builder.options.MachineOptions)
	if s.run.Source == nil {
		return m, nil
	}
	s.builder.mu.Lock()
	defer s.builder.mu.Unlock()
	source, ok := s.builder.images[s.run.Source.ID()]
	if !ok {
		return nil, fmt.Errorf("image %s not found", s.run.Source.ID())
	}
	return source.machine.Clone(), nil
}

func (s *session) terminate(context.Context, bake.Outcome) error {
	return s.builder.drop(s.builder.machines, "machine", s.run)
}

func (s *session) save(context.Context) error {
	if s.Image = s.builder.madeBy(s.builder.images, s.run); s.Image != "" {
		return nil // created by another process
	}
	s.builder.mu.Lock()
	h, ok := s.builder.machines[s.Machine]
	s.builder.mu.Unlock()
	if !ok {
		return fmt.Errorf("machine %q not found", s.Machine)
	}
	s.Image = s.builder.add(s.builder.images, "image", &held{
		machine: h.machine.Clone(), run: s.run.ID, image: s.run.Image, fingerprint: s.run.Fingerprint,
		source: sourceOf(s.run), made: s.run.Clock.Now(),
	})
	s.run.Created("image", s.Image)
	return nil
}

func (s *session) discard(_ context.Context, outcome bake.Outcome) error {
	if outcome == bake.Succeeded {
		return nil
	}
	return s.builder.drop(s.builder.images, "image", s.run)
}

func (s *session) promote(context.Context) error {
	s.builder.mu.Lock()
	defer s.builder.mu.Unlock()
	h, ok := s.builder.images[s.Image]
	if !ok {
		return fmt.Errorf("image %q not found", s.Image)
	}
	h.promoted = true
	return nil
}

// An artifact is an in-memory image.
type artifact struct {
	builder *Builder
	id      string
}

func (a *artifact) ID() string             { return a.id }
func (a *artifact) String() string         { return a.id }
func (a *artifact) IDs() map[string]string { return map[string]string{"memory": a.id} }

func (a *artifact) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"id": a.id})
}

func (a *artifact) Destroy(context.Context) error {
	a.builder.mu.Lock()
	defer a.builder.mu.Unlock()
	delete(a.builder.images, a.id)
	return nil
}
