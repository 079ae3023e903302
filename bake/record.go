package bake

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Record holds the state of a build, from which another process can resume it or
// clean up. It contains the keys of the build's machine, so a Store must protect it
// like a private key while the machine exists.
type Record struct {
	Version  int    `json:"version"`  // RecordVersion
	Revision int64  `json:"revision"` // counts the saves of this record, from 1
	Build    string `json:"build"`
	Image    string `json:"image"`

	// Labels are Options.Labels, for the program that owns the store.
	Labels map[string]string `json:"labels,omitempty"`

	// Caller is Options.Caller: for whom the image is baked.
	Caller string `json:"caller,omitempty"`

	// From is the build of the source image, Image.From, and Source the id of its
	// artifact, once there is one.
	From   string `json:"from,omitempty"`
	Source string `json:"source,omitempty"`

	// Builder is the type of the builder, and Definition a digest of its fields and
	// of those of the image that belong to no step.
	Builder    string `json:"builder,omitempty"`
	Definition string `json:"definition,omitempty"`

	// Again counts how often the build was begun again because its definition had
	// changed. Replacing tells how, while the earlier attempt is undone.
	Again     int    `json:"again,omitempty"`
	Replacing string `json:"replacing,omitempty"`

	Lease  Lease  `json:"lease,omitzero"`
	Cancel string `json:"cancel,omitempty"` // why the build is to be canceled; see Cancel

	Created time.Time `json:"created,omitzero"`
	Started time.Time `json:"started,omitzero"` // zero while the build waits for its turn
	Updated time.Time `json:"updated,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Status  Status    `json:"status,omitempty"` // empty until the clean-up has ended
	Error   string    `json:"error,omitempty"`
	Good    bool      `json:"good,omitempty"` // the artifact was promoted and stays

	// Artifact is the good artifact, or the one that was found.
	Artifact *ArtifactRecord `json:"artifact,omitempty"`

	// Planned is how many steps the build has if it succeeds, of which Steps has those
	// that have begun. Zero before the first one.
	Planned int `json:"planned,omitempty"`

	Steps   []StepRecord    `json:"steps"`
	Session json.RawMessage `json:"session,omitempty"`
	Check   json.RawMessage `json:"check,omitempty"` // the check session
}

// An ArtifactRecord describes an artifact in a Record.
type ArtifactRecord struct {
	ID   string            `json:"id"`
	IDs  map[string]string `json:"ids,omitempty"`
	Data json.RawMessage   `json:"data,omitempty"` // the artifact as JSON
}

// RecordVersion is the version of the records that this library writes and reads. It
// changes when another version would misread them.
const RecordVersion = 2

const mostAgain = 1 << 20

// A StepRecord holds the state of one step.
type StepRecord struct {
	Name     string    `json:"name"`
	State    StepState `json:"state"`
	Check    bool      `json:"check,omitempty"`   // belongs to the check session
	Image    bool      `json:"image,omitempty"`   // belongs to the image, not to the builder
	Undo     bool      `json:"undo,omitempty"`    // has an Undo
	Cleaned  bool      `json:"cleaned,omitempty"` // was undone after success: only what stays is left
	Skipped  bool      `json:"skipped,omitempty"` // its Undo was skipped: the definition did not have it
	Digest   string    `json:"digest,omitempty"`  // of what a step of the image is made of
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// gone reports whether nothing is left for an Undo of the step.
func (s *StepRecord) gone() bool { return s.State == "" || s.State == StepUndone || s.Cleaned }

// A StepState tells how far a step got. In every state but StepUndone, resources may
// exist, unless StepRecord.Cleaned is set.
type StepState string

// The states of a step.
const (
	StepBegun  StepState = "begun"
	StepDone   StepState = "done"
	StepFailed StepState = "failed"
	StepUndone StepState = "undone"
	StepKept   StepState = "kept" // Options.OnFailure kept its resources
)

// Ended reports whether the build has ended and left nothing that an Undo would remove.
// A kept machine remains until it expires, and what a skipped Undo left.
func (r *Record) Ended() bool {
	if r.Status == "" {
		return false
	}
	for i := range r.Steps {
		if s := &r.Steps[i]; !s.gone() && s.State != StepKept && !s.Skipped {
			return false
		}
	}
	return true
}

// kept reports whether the build keeps a machine.
func (r *Record) kept() bool {
	for _, s := range r.Steps {
		if s.State == StepKept {
			return true
		}
	}
	return false
}

// validate reports a record that this library did not write: an empty one, one of
// another version, or one whose build id could be the name of anything.
func (r *Record) validate() error {
	switch {
	case r == nil:
		return errors.New("is nil")
	case r.Version == 0:
		return errors.New("not a record of a build: it has no version")
	case r.Version > RecordVersion:
		return fmt.Errorf("record of version %d; this library reads version %d: use a newer one", r.Version, RecordVersion)
	case r.Version < 0:
		return fmt.Errorf("invalid record version %d", r.Version)
	case r.Version < RecordVersion:
		return fmt.Errorf("record of version %d; this library reads version %d: use the one that wrote it", r.Version, RecordVersion)
	case r.Again < 0 || r.Again > mostAgain:
		return fmt.Errorf("invalid number of attempts %d", r.Again)
	case r.Planned < 0:
		return fmt.Errorf("invalid number of steps %d", r.Planned)
	case r.Revision < 0:
		return fmt.Errorf("invalid record revision %d", r.Revision)
	}
	if err := validateBuildID(r.Build); err != nil {
		return err
	}
	if r.Image == "" {
		return fmt.Errorf("record of build %s names no image", r.Build)
	}
	if r.From != "" {
		if err := validateBuildID(r.From); err != nil || r.From == r.Build {
			return fmt.Errorf("record of build %s has the invalid source build %q", r.Build, shorten(r.From, longestOwner))
		}
	}
	for _, step := range r.Steps {
		switch step.State {
		case StepBegun, StepDone, StepFailed, StepUndone, StepKept:
		default:
			return fmt.Errorf("record of build %s: step %q has the unknown state %q", r.Build, step.Name, step.State)
		}
	}
	if err := r.Lease.validate(); err != nil {
		return fmt.Errorf("record of build %s: %w", r.Build, err)
	}
	switch r.Status {
	case "", StatusBaked, StatusReused, StatusProvisioned, StatusFailed, StatusSkipped, StatusCanceled:
		return nil
	}
	return fmt.Errorf("record of build %s has the unknown status %q", r.Build, r.Status)
}
