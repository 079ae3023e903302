package bake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrNoRecord is returned, wrapped, by Store.Load if there is no such record.
var ErrNoRecord = errors.New("record not found")

// ErrConflict is returned, wrapped, by Store.Save if the record has another revision:
// another process changed or deleted it.
var ErrConflict = errors.New("record was changed by another process")

// A Store keeps the records of builds, of any number of processes. It must be safe for
// concurrent use. Package baketest has a conformance suite for stores.
//
// This package has [MemoryStore] and [DirStore]. Package sqlstore keeps records in
// PostgreSQL or SQLite, and package s3store in a bucket.
type Store interface {
	// Save stores r, if the stored record of the same build has the revision before
	// r.Revision or, if that is 1, does not exist. Otherwise it changes nothing and
	// returns an error that wraps ErrConflict. Readers see either the old or the new
	// record. Once Save has returned nil, the record survives a crash of the store.
	//
	// If the response is lost, Save may return an error although it stored r. The
	// engine then loads the record.
	Save(ctx context.Context, r *Record) error

	// Load returns the record of a build, or an error that wraps ErrNoRecord. It sees
	// every Save that has returned, in any process.
	Load(ctx context.Context, build string) (*Record, error)

	// List returns the ids of all builds in ascending order. Those that do not come from a
	// Request with an ID begin with the time.
	List(ctx context.Context) ([]string, error)

	// Delete removes the record of a build. It succeeds if there is none. A later Save
	// of the record is a conflict.
	Delete(ctx context.Context, build string) error
}

// EncodeRecord returns r as JSON, for a Store. It refuses records that this library
// did not make. The build id in r consists of lower-case letters, digits and a hyphen.
func EncodeRecord(r *Record) ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	if r.Revision < 1 {
		return nil, fmt.Errorf("invalid record revision %d", r.Revision)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("record of build %s: %w", r.Build, err)
	}
	return data, nil
}

// DecodeRecord returns the record that EncodeRecord encoded. It refuses anything else,
// also a record of another build.
func DecodeRecord(build string, data []byte) (*Record, error) {
	r := new(Record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("record of build %s: %w", build, err)
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	if r.Build != build {
		return nil, fmt.Errorf("record of another build, %s", r.Build)
	}
	return r, nil
}

// ValidateBuildID reports an id that is not a build id of this library, so that a Store
// can use build ids as names of files.
func ValidateBuildID(build string) error { return validateBuildID(build) }

// Cancel asks the process that owns a build, or will own it, to cancel it and clean up.
// The owner notices within a third of its lease. Cancel succeeds if the build has ended.
func Cancel(ctx context.Context, store Store, build, reason string) error {
	if reason == "" {
		reason = "on request"
	}
	for {
		rec, err := store.Load(ctx, build)
		if err != nil || rec.Status != "" || rec.Cancel != "" {
			return err
		}
		rec.Cancel = reason
		rec.Revision++
		if err := store.Save(ctx, rec); !errors.Is(err, ErrConflict) {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
}

// Records returns all records of a store, oldest first. It leaves out those that are
// deleted meanwhile, and joins the errors of those that cannot be read.
func Records(ctx context.Context, store Store) ([]*Record, error) {
	builds, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the records: %w", err)
	}
	var errs []error
	records := make([]*Record, 0, len(builds))
	for _, build := range builds {
		rec, err := store.Load(ctx, build)
		switch {
		case err == nil:
			records = append(records, rec)
		case errors.Is(err, ErrNoRecord):
		case ctx.Err() != nil:
			return records, err
		default:
			errs = append(errs, fmt.Errorf("load the record of build %s: %w", build, err))
		}
	}
	sortByAge(records)
	return records, errors.Join(errs...)
}

func sortByAge(records []*Record) {
	slices.SortStableFunc(records, func(a, b *Record) int { return a.Created.Compare(b.Created) })
}
