package bake

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// An Image is the definition of one image. It is a plain value: making one
// does no I/O, and Bake does not change it.
type Image struct {
	// Name identifies the image among those of one Bake, and is the family
	// under which its artifacts are later found. It is required.
	Name string

	// Builder is the platform. It is required.
	Builder Builder

	// From, when set, is the image whose artifact this one starts from; it
	// must be baked in the same call. The Builder then has no source of its own.
	From *Image

	// Provisioners change the machine, in this order.
	Provisioners []Provisioner

	// Steps are further stages of the user's own, each at its Phase, within a
	// phase in this order.
	Steps []Step

	// Checks must hold on a fresh machine booted from the artifact. A failing
	// check removes the artifact. Without checks no second machine is started.
	Checks []Check

	// Publishers make the good artifact known, in this order. A failing one
	// fails the build, but removes nothing: others may know the artifact
	// already.
	Publishers []Publisher

	// Tags are set on everything that is created for the image, and on the
	// artifact.
	Tags map[string]string

	// Secrets are values to mask wherever output goes, besides those given to
	// commands, which are masked already.
	Secrets []Secret

	// ProvisionOnly tries the image out: its machine is launched and changed by
	// the provisioners, and then removed with all else, without an artifact.
	// Checks, Publishers and Fingerprint are left alone, as are Steps after
	// BeforeCapture; those that were done are undone as in a canceled build. No
	// other image can be made From it.
	ProvisionOnly bool

	// Fingerprint, when set, stands for everything the image is made of. If
	// the builder finds an artifact of the same image with the same
	// fingerprint, made from the same source image, that is the result and
	// nothing is built. It needs a Builder that is a Finder.
	Fingerprint string
}

// A Run is what the engine tells a Builder about one build, and how the
// builder tells the engine what it does.
type Run struct {
	// ID is unique to this session, made of lower-case letters, digits and
	// hyphens; everything created is tagged with it. A machine started only to
	// check an artifact has a session of its own.
	ID string

	// Image is the name of the image.
	Image string

	// Tags are those of the image.
	Tags map[string]string

	// Source is the artifact of Image.From, or, when an artifact is checked,
	// that artifact. Nil leaves the source to the builder.
	Source Artifact

	// Checks says that this session is of a machine that checks an artifact.
	Checks bool

	// Fingerprint is that of the image and its source together; empty when the
	// image has none.
	Fingerprint string

	// Expires is when whatever is left of the build may be removed by anyone.
	Expires time.Time

	// Clock tells time and sleeps. It is never nil.
	Clock clock.Clock

	// Log receives what is not worth an event; never nil.
	Log *slog.Logger

	// emit passes an event to the observer, after masking.
	emit func(Event)
	mask *masker
}

// NewRun returns a Run for tests of a Builder without the engine. Observe may
// be nil.
func NewRun(id, image string, c clock.Clock, observe func(Event)) *Run {
	if c == nil {
		c = clock.System()
	}
	return &Run{
		ID: id, Image: image, Clock: c, Expires: c.Now().Add(defaultLifetime),
		Log: slog.New(slog.DiscardHandler), emit: observe, mask: &masker{},
	}
}

// Created reports that a resource was created, by the platform's own name for
// its kind.
func (r *Run) Created(kind, id string) {
	r.Emit(Event{Kind: ResourceCreated, Resource: Resource{Kind: kind, ID: id}})
}

// Removed reports that a resource was removed.
func (r *Run) Removed(kind, id string) {
	r.Emit(Event{Kind: ResourceRemoved, Resource: Resource{Kind: kind, ID: id}})
}

// Say reports something worth reading, such as which source was chosen.
func (r *Run) Say(format string, args ...any) {
	r.Emit(Event{Kind: Message, Text: fmt.Sprintf(format, args...)})
}

// Emit reports an event; the engine fills in its time, image and step.
func (r *Run) Emit(e Event) {
	if r.emit == nil {
		return
	}
	e.Image = r.Image
	if e.Time.IsZero() {
		e.Time = r.Clock.Now()
	}
	r.emit(e.masked(r.mask))
}

// Lines returns a writer that reports what is written to it as the build's
// output, line by line. Close reports a last line that has no end. It is for
// provisioners that run something on the baking host; a Machine's commands are
// reported by themselves.
func (r *Run) Lines(stream Stream) io.WriteCloser { return &lines{run: r, stream: stream} }

type runKey struct{}

func withRun(ctx context.Context, r *Run) context.Context {
	return context.WithValue(ctx, runKey{}, r)
}

// RunFromContext returns the build that ctx belongs to, so that a provisioner can report
// what it does. Outside of a build it is one that reports to nobody.
func RunFromContext(ctx context.Context) *Run {
	if r, ok := ctx.Value(runKey{}).(*Run); ok {
		return r
	}
	return NewRun("", "", nil, nil)
}

// Mask makes s unreadable in all that the build reports from now on.
func (r *Run) Mask(s ...Secret) { r.mask.add(s...) }

// KeptMachine says how to reach a machine that a failed build left running.
type KeptMachine struct {
	Machine   string     // the platform's name for it: "i-0123456789abcdef0"
	Address   string     // host and port
	User      string     // the login
	Key       Secret     // the private key in OpenSSH's PEM form; empty if it is the caller's own
	HostKey   string     // the machine's public host key, as in known_hosts
	Expires   time.Time  // when the machine ends itself
	Resources []Resource // what stays with it
}

// String says how to reach the machine and until when, without the key.
func (k KeptMachine) String() string {
	return fmt.Sprintf("%s is kept until %s: ssh %s@%s", k.Machine, k.Expires.UTC().Format(time.RFC3339), k.User, k.Address)
}
