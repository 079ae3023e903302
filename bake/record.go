package bake

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// A Record holds the state of a build, from which another process can resume it or
// clean up. It contains the keys of the build's machine, so a Store must protect it
// like a private key while the machine exists.
type Record struct {
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
	// Save replaces the record of the same build atomically.
	Save(ctx context.Context, r *Record) error

	// Load returns the record of a build, or an error that wraps ErrNoRecord.
	Load(ctx context.Context, build string) (*Record, error)

	// List returns the ids of all builds, oldest first.
	List(ctx context.Context) ([]string, error)

	// Delete removes the record of a build. It succeeds if there is none.
	Delete(ctx context.Context, build string) error
}
