package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Builder represents a platform: it turns the source of an image into a running
// Machine, and that machine into an Artifact.
//
// A Builder holds no state of a build and may serve any number of builds
// concurrently. It may also be a [Finder] and a [ConflictChecker]; see [As]. To add
// a platform, implement Builder and pass baketest.Conform.
type Builder interface {
	// Validate reports every problem of img that the platform can detect without
	// I/O, joined.
	Validate(img *Image) error

	// Begin returns a new session for a build of img. It does no I/O.
	Begin(img *Image, run *Run) (Session, error)
}

// A Session is one build on one platform: its state, and the steps that read and
// write that state. It may also be a [MachineKeeper], a [Restarter] and [Machineless]; see [As].
//
// A Session marshals to JSON between any two steps. Unmarshaled into the Session
// that Begin returns for the same Run, it is the same build in another process:
// every Undo works from it and every Do continues from it. The record may be older
// than the last step that ran; a repeated step must not create anything twice.
type Session interface {
	// Launch returns the steps from the source to a reachable machine.
	Launch() []Step

	// Connect connects to the machine that Launch created, after Launch and again
	// in another process. It waits while the machine is still booting.
	Connect(ctx context.Context) (Machine, error)

	// Capture returns the steps from the machine to an existing artifact. They can
	// go on with the connection to the machine: see [Run.TakeMachine]. If they do
	// not, it is closed after the last of them.
	Capture() []Step

	// EndCheck returns the steps that start to remove the machine once its checks
	// have passed. Its connection is closed before the first of them. They do not
	// wait for the removal: promotion comes next, and the steps of Launch are undone
	// when the build ends.
	EndCheck() []Step

	// Promote returns the steps that make a checked artifact ready for others:
	// final tags, copies, permissions. If one fails with a *PartialError, the
	// artifact stays.
	Promote() []Step

	// Artifact returns the artifact that Capture created, or nil before that.
	Artifact() Artifact
}

// A MachineKeeper is a Session that supports [KeepMachine].
type MachineKeeper interface {
	// KeptMachine tells how to reach the machine that a failed build keeps.
	KeptMachine() KeptMachine
}

// A Finder is a Builder that can find the artifact of an earlier build of the same
// image, for images with a Fingerprint.
type Finder interface {
	// Find returns the newest good artifact of img whose recorded fingerprint
	// is run.Fingerprint, or ErrNoArtifact.
	Find(ctx context.Context, img *Image, run *Run) (Artifact, error)
}

// A ConflictChecker is a Builder that can detect images that cannot be baked
// together, such as two AMIs with the same name.
type ConflictChecker interface {
	// Conflicts returns an error if img, which has this Builder, cannot be baked
	// together with other, which precedes it. It does no I/O.
	Conflicts(img, other *Image) error
}

// ErrNoArtifact is returned by Finder.Find if there is no such artifact.
var ErrNoArtifact = errors.New("no artifact with this fingerprint")

var errNoFinder = errors.New("the builder cannot find existing artifacts")

// An Artifact is the result of a build, such as an AMI.
type Artifact interface {
	fmt.Stringer
	json.Marshaler

	// ID returns the platform's id: "ami-0123456789abcdef0".
	ID() string

	// IDs returns the id in every location where the artifact can be used, for EC2
	// by region.
	IDs() map[string]string

	// Destroy removes the artifact and everything that belongs to it, in every
	// location. It succeeds if they no longer exist.
	Destroy(ctx context.Context) error
}

// A Check verifies a fresh machine that booted from the artifact, before the
// artifact is promoted or published. Package check has many; [CheckFunc] adapts a
// func. One that reads the artifact instead is an [ArtifactChecker].
//
// A Provisioner, Check or Publisher may also be a [Validator], which runs
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

// A KeptMachine tells how to reach a machine that a failed build left running.
type KeptMachine struct {
	Machine   string     // the platform's id: "i-0123456789abcdef0"
	Address   string     // host and port
	User      string     // the login
	Key       Secret     // the private key in OpenSSH's PEM format, or empty if the caller has it
	HostKey   string     // the machine's public host key in known_hosts format
	Expires   time.Time  // when the machine shuts itself down
	Resources []Resource // the resources kept with it
}

// String describes how to reach the machine and until when, without the key.
func (k KeptMachine) String() string {
	return fmt.Sprintf("%s is kept until %s: ssh %s@%s", k.Machine, k.Expires.UTC().Format(time.RFC3339), k.User, k.Address)
}
