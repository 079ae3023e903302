package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Record is one build as another process can take it over: which steps were
// begun, and the session's state as JSON. It holds the keys of the build's
// machine, which are worthless once the machine is gone; until then a Store
// must guard it like a private key.
type Record struct {
	Build   string          `json:"build"`
	Image   string          `json:"image"`
	Started time.Time       `json:"started"`
	Updated time.Time       `json:"updated"`
	Expires time.Time       `json:"expires"`
	Status  Status          `json:"status,omitempty"` // empty until its clean-up has ended
	Error   string          `json:"error,omitempty"`
	Good    bool            `json:"good,omitempty"` // the artifact was promoted: it stays
	Steps   []StepRecord    `json:"steps"`
	Session json.RawMessage `json:"session,omitempty"`
	Check   json.RawMessage `json:"check,omitempty"` // the session of the machine that checks the artifact
}

// A StepRecord is what became of one step.
type StepRecord struct {
	Name     string    `json:"name"`
	State    StepState `json:"state"`
	Check    bool      `json:"check,omitempty"` // belongs to Record.Check
	Attempts int       `json:"attempts,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// A StepState is how far a step got. Every state but StepUndone may have left
// something behind.
type StepState string

// The states of a step.
const (
	StepBegun  StepState = "begun"
	StepDone   StepState = "done"
	StepFailed StepState = "failed"
	StepUndone StepState = "undone"
	StepKept   StepState = "kept" // OnFailure kept what it made
)

// ErrNoRecord is wrapped by Load when a Store has no such record.
var ErrNoRecord = errors.New("no such record")

// A Store keeps the records of builds. Save replaces the record of the same
// build, whole or not at all. It may be called by several goroutines at once.
type Store interface {
	Save(ctx context.Context, r *Record) error
	Load(ctx context.Context, build string) (*Record, error)
	List(ctx context.Context) ([]string, error) // build ids, oldest first
	Delete(ctx context.Context, build string) error
}

// DirStore returns a Store that keeps each record in a file of its own, mode
// 0600, in dir, which is made if it is missing.
func DirStore(dir string) Store { return dirStore(dir) }

type dirStore string

func (d dirStore) path(build string) string { return filepath.Join(string(d), build+".json") }

func (d dirStore) Save(_ context.Context, r *Record) (err error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("record of build %s: %w", r.Build, err)
	}
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(string(d), ".saving-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), d.path(r.Build))
}

func (d dirStore) Load(_ context.Context, build string) (*Record, error) {
	data, err := os.ReadFile(d.path(build))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoRecord, build)
	}
	if err != nil {
		return nil, err
	}
	r := new(Record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("record of build %s: %w", build, err)
	}
	return r, nil
}

func (d dirStore) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var builds []string
	for _, entry := range entries {
		if build, ok := strings.CutSuffix(entry.Name(), ".json"); ok && !strings.HasPrefix(build, ".") {
			builds = append(builds, build)
		}
	}
	slices.Sort(builds) // build ids begin with their time
	return builds, nil
}

func (d dirStore) Delete(_ context.Context, build string) error {
	err := os.Remove(d.path(build))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
