package bake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// A Run describes one build to a Builder, which reports its progress through it.
type Run struct {
	// ID identifies the session. It consists of lower-case letters, digits and
	// hyphens. Every resource is tagged with it. The check machine has its own
	// session and ID.
	ID string

	// Image is the image's name.
	Image string

	// Tags are Image.Tags.
	Tags map[string]string

	// Source is the artifact of Image.From or, in a check session, the artifact to
	// check. If nil, the builder has the source.
	Source Artifact

	// Checks reports whether this session is that of the check machine.
	Checks bool

	// KeepMachine reports whether the machine stays if the build fails, even when this
	// process has ended.
	KeepMachine bool

	// Fingerprint identifies the image together with its source. It is empty if
	// Image.Fingerprint is.
	Fingerprint string

	// Expires is the time after which anyone may remove leftovers of the build.
	Expires time.Time

	// Clock tells time and sleeps. It is never nil.
	Clock clock.Clock

	// Log receives details that are not events. It masks secrets and adds the attributes
	// image and build. It is never nil.
	Log *slog.Logger

	emit func(Event)
	mask *mask.Masker
	step func() string // at work
	left func() string // that an ended process had begun

	lease func(context.Context) error // see CheckLease
	save  func(context.Context) error // see Checkpoint
	taken func() Machine              // see TakeMachine
}

// NewRun returns a Run for testing a Builder without the engine. If c is nil, the
// system clock is used. observe may be nil.
func NewRun(id, image string, c clock.Clock, observe func(Event)) *Run {
	if c == nil {
		c = clock.System()
	}
	r := &Run{
		ID: id, Image: image, Clock: c, Expires: c.Now().Add(defaultLifetime),
		Log: slog.New(slog.DiscardHandler), mask: &mask.Masker{},
	}
	if observe != nil {
		r.emit = func(e Event) { observe(e.clean(r.mask, false)) }
	}
	return r
}

// Checkpoint saves the record of the build while a step runs, so that another process that
// resumes the build runs the step with the session's state as of now. It is for long steps
// that can continue. It must be called by the step itself, which must not change the
// session meanwhile. Without a Store it does nothing.
func (r *Run) Checkpoint(ctx context.Context) error {
	if r.save == nil {
		return nil
	}
	return r.save(ctx)
}

// TakeMachine hands over the connection to the machine, as Session.Connect returned it,
// to a step of Session.Capture, which must close it. It returns nil if it was taken
// before or there is none: the process that connected has ended, or the connection
// was closed. Its commands are not reported as events.
func (r *Run) TakeMachine() Machine {
	if r.taken == nil {
		return nil
	}
	return r.taken()
}

// CommandMark identifies the step at work in this build, for processes that the step
// starts on a machine: they outlive the process that bakes, if that is killed.
func (r *Run) CommandMark() string { return r.commandMark(r.step) }

// LeftMark returns the CommandMark of the step that an ended process had begun and
// that this one runs again. Nothing that has this mark may run any more. It is empty
// unless the build was resumed.
func (r *Run) LeftMark() string { return r.commandMark(r.left) }

// commandMark hashes the name of the step, which may be any text.
func (r *Run) commandMark(step func() string) string {
	const length = 6
	if step == nil || step() == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(step()))
	return r.ID + "-" + hex.EncodeToString(sum[:length])
}

// Created reports a created resource. The kind is the platform's term for it.
func (r *Run) Created(kind, id string) {
	r.Emit(Event{Kind: ResourceCreated, Resource: Resource{Kind: kind, ID: id}})
}

// Removed reports a removed resource.
func (r *Run) Removed(kind, id string) {
	r.Emit(Event{Kind: ResourceRemoved, Resource: Resource{Kind: kind, ID: id}})
}

// Say reports a message for the person who watches the build, such as which source
// was chosen.
func (r *Run) Say(format string, args ...any) {
	r.Emit(Event{Kind: Message, Text: fmt.Sprintf(format, args...)})
}

// Command reports that a command starts. The caller calls finished when it has ended.
// The commands of a Machine are reported automatically.
func (r *Run) Command(text string) (finished func(error)) {
	start := r.Clock.Now()
	r.Emit(Event{Kind: CommandStarted, Text: text})
	return func(err error) {
		r.Emit(Event{Kind: CommandFinished, Text: text, Elapsed: r.Clock.Now().Sub(start), Err: errorText(err)})
	}
}

// Emit reports an event. The engine fills in its time, image and step.
func (r *Run) Emit(e Event) {
	if r.emit == nil {
		return
	}
	e.Image = r.Image
	if e.Time.IsZero() {
		e.Time = r.Clock.Now()
	}
	r.emit(e)
}

// Lines returns a writer that reports each line written to it as output of the
// build. Close reports an unterminated last line. It is for provisioners that run
// programs on the baking host; the output of a Machine's commands is reported
// automatically.
func (r *Run) Lines(stream Stream) io.WriteCloser { return newLines(r, stream, nil) }

type runKey struct{}

func withRun(ctx context.Context, r *Run) context.Context {
	return context.WithValue(ctx, runKey{}, r)
}

// RunFromContext returns the Run of the build that ctx belongs to, so that a
// provisioner can report its progress. Outside of a build it returns a Run that
// discards all reports.
func RunFromContext(ctx context.Context) *Run {
	if r, ok := ctx.Value(runKey{}).(*Run); ok {
		return r
	}
	return NewRun("", "", nil, nil)
}

// Redact returns text with the secrets of the build masked and other invisible
// characters replaced, as in an Event. Use it before cutting a text that a machine or
// program printed: the part of a secret that is left cannot be recognized.
func (r *Run) Redact(text string) string { return visible.Text(r.mask.Mask(text)) }

// Mask masks s in everything the build reports from now on.
func (r *Run) Mask(s ...Secret) { addSecrets(r.mask, s...) }
