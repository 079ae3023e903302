package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Record holds the state of a build, from which another process can resume it or
// clean up. It contains the keys of the build's machine, so a Store must protect it
// like a private key while the machine exists.
type Record struct {
	Version int             `json:"version"` // RecordVersion
	Build   string          `json:"build"`
	Image   string          `json:"image"`
	Started time.Time       `json:"started"`
	Updated time.Time       `json:"updated"`
	Expires time.Time       `json:"expires"`
	Status  Status          `json:"status,omitempty"` // empty until the clean-up has ended
	Error   string          `json:"error,omitempty"`
	Good    bool            `json:"good,omitempty"` // the artifact was promoted and stays
	Steps   []StepRecord    `json:"steps"`
	Session json.RawMessage `json:"session,omitempty"`
	Check   json.RawMessage `json:"check,omitempty"` // the check session
}

// RecordVersion is the version of the records that this library writes and reads. It
// changes when an older library would misread them.
const RecordVersion = 1

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
	}
	if err := validateBuildID(r.Build); err != nil {
		return err
	}
	if r.Image == "" {
		return fmt.Errorf("record of build %s names no image", r.Build)
	}
	for _, step := range r.Steps {
		switch step.State {
		case StepBegun, StepDone, StepFailed, StepUndone, StepKept:
		default:
			return fmt.Errorf("record of build %s: step %q has the unknown state %q", r.Build, step.Name, step.State)
		}
	}
	switch r.Status {
	case "", StatusBaked, StatusReused, StatusProvisioned, StatusFailed, StatusSkipped, StatusCanceled:
		return nil
	}
	return fmt.Errorf("record of build %s has the unknown status %q", r.Build, r.Status)
}

// A StepRecord holds the state of one step.
type StepRecord struct {
	Name     string    `json:"name"`
	State    StepState `json:"state"`
	Check    bool      `json:"check,omitempty"` // belongs to the check session
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// A StepState tells how far a step got. In every state but StepUndone, resources may
// exist.
type StepState string

// The states of a step.
const (
	StepBegun  StepState = "begun"
	StepDone   StepState = "done"
	StepFailed StepState = "failed"
	StepUndone StepState = "undone"
	StepKept   StepState = "kept" // Options.OnFailure kept its resources
)

// ErrNoRecord is returned, wrapped, by Store.Load if there is no such record.
var ErrNoRecord = errors.New("record not found")

// A Store keeps the records of builds. It must be safe for concurrent use.
type Store interface {
	// Save replaces the record of the same build atomically. The build id consists of
	// lower-case letters, digits and a hyphen.
	Save(ctx context.Context, r *Record) error

	// Load returns the record of a build, or an error that wraps ErrNoRecord.
	Load(ctx context.Context, build string) (*Record, error)

	// List returns the ids of all builds, oldest first.
	List(ctx context.Context) ([]string, error)

	// Delete removes the record of a build. It succeeds if there is none.
	Delete(ctx context.Context, build string) error
}
