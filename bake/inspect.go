package bake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// An Inspector is a Builder that can describe the newest artifact of an image, for
// [Inspect]. It is also a [Finder].
type Inspector interface {
	// Inspect describes the newest good artifact of img, and the source that img
	// would be made from now. It returns ErrNoArtifact, wrapped, if there is none.
	Inspect(ctx context.Context, img *Image, run *Run) (*Inspection, error)
}

// An Inspection describes the newest good artifact of an image, and what the image would
// be made of now.
type Inspection struct {
	Artifact    Artifact
	Created     time.Time
	Fingerprint string // of its build: Run.Fingerprint
	Source      string // the id of what it was made from; empty if unknown
	SourceNow   string // the id of what the image would be made from now; empty if unknown

	// FingerprintNow is the fingerprint that a build would have now. [Inspect] sets it.
	FingerprintNow string
}

// Inspect describes the newest artifact of an image and what the image would be made of
// now, in order to decide whether to bake it again. Source is the artifact of
// Image.From, if it has one. It returns ErrNoArtifact, wrapped, if there is none. If c
// is nil, the system clock is used.
func Inspect(ctx context.Context, img *Image, source Artifact, c clock.Clock) (*Inspection, error) {
	inspector, ok := As[Inspector](img.Builder)
	if !ok {
		return nil, &Error{Image: img.Name, Err: errors.New("the builder cannot inspect existing artifacts")}
	}
	run := NewRun("inspect", img.Name, c, nil)
	run.Tags, run.Source, run.Fingerprint = img.Tags, source, fingerprint(img, source)
	found, err := inspector.Inspect(ctx, img, run)
	if err != nil {
		return nil, &Error{Image: img.Name, Err: err}
	}
	if found == nil || found.Artifact == nil {
		return nil, fmt.Errorf("image %s: %w", img.Name, ErrNoArtifact)
	}
	found.FingerprintNow = run.Fingerprint
	return found, nil
}
