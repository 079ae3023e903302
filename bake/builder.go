package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// A Builder is a platform: how the source of an image becomes a running
// Machine, and how that machine becomes an Artifact.
//
// A Builder is a value that describes; it holds no state of a build and may
// serve any number of them at once. To add a platform, implement it and pass
// baketest.Conform.
type Builder interface {
	// Validate reports, joined, everything about img that this platform can
	// see to be wrong without any I/O.
	Validate(img *Image) error

	// Begin starts the record of one build of img. It does no I/O.
	Begin(img *Image, run *Run) (Session, error)
}

// A Session is one build on one platform: its typed state, and the steps that
// read and write that state.
//
// It marshals to JSON between any two steps. Unmarshalled into what Begin
// returns for the same Run, it is the same build in another process: every
// Undo works from it, and every Do goes on from it. A step may have been done
// although the record is from before: then it makes nothing twice.
type Session interface {
	// Launch is the steps from the source to a reachable machine.
	Launch() []Step

	// Connect returns the machine that Launch made: after Launch, and again in
	// another process. It waits for a machine that is still booting.
	Connect(ctx context.Context) (Machine, error)

	// Capture is the steps from the machine to an artifact that exists. The
	// machine's connection is closed before the first of them.
	Capture() []Step

	// Release is the steps that begin to end a machine that the checks are done
	// with. Its connection is closed before the first of them. They wait for
	// nothing: the artifact is promoted next, and what is left of Launch is undone
	// when the build ends.
	EndCheck() []Step

	// Promote is the steps that make a good artifact ready for others, after
	// its checks: final tags, copies, permissions. One that fails with a
	// *PartialError leaves the artifact standing.
	Promote() []Step

	// Artifact is what Capture made; nil before.
	Artifact() Artifact
}

// A MachineKeeper is a Session that can say how to reach its machine when a failed
// build keeps it.
type MachineKeeper interface {
	KeptMachine() KeptMachine
}

// A Finder is a Builder that can look for an artifact that an earlier build
// made of the same image, for images with a Fingerprint.
type Finder interface {
	// Find returns the newest good artifact of img whose recorded fingerprint
	// is run.Fingerprint, or ErrNoArtifact.
	Find(ctx context.Context, img *Image, run *Run) (Artifact, error)
}

// A ConflictChecker is a Builder that can tell that two images of one Bake cannot both
// be made: two of the same fixed name, say.
type ConflictChecker interface {
	// Clashes is why img, whose Builder it is, cannot be made together with
	// other, which came before it; nil if it can. It does no I/O.
	Conflicts(img, other *Image) error
}

// ErrNoArtifact is what Finder.Find returns when there is none.
var ErrNoArtifact = errors.New("no artifact with this fingerprint")

// An Artifact is what came out of a build.
type Artifact interface {
	fmt.Stringer
	json.Marshaler

	// ID is the platform's name for it: "ami-0123456789abcdef0".
	ID() string

	// IDs is its id in every place where it can be used: for EC2 by region.
	IDs() map[string]string

	// Destroy removes the artifact and everything that belongs to it,
	// everywhere. What is gone already is no error.
	Destroy(ctx context.Context) error
}

// A Check verifies something on a fresh machine that booted from the artifact,
// before the artifact is promoted or published. Besides its own types, [CheckFunc]
// adapts a func.
//
// A Provisioner, Check or Publisher may also be a [Validator], which is asked
// before anything is created, and a fmt.Stringer, which names its step. See [As].
type Check interface {
	Check(ctx context.Context, m Machine) error
}

// A Publisher makes a good artifact known: it writes a manifest, sets a parameter,
// or retires older images. It runs after the checks and the promotion.
// [PublisherFunc] adapts a func.
type Publisher interface {
	Publish(ctx context.Context, a Artifact) error
}

// A Provisioner changes a Machine. Package provision has many; [ProvisionFunc]
// adapts a func.
type Provisioner interface {
	Provision(ctx context.Context, m Machine) error
}
