package bake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/internal/filelock"
)

// DirStore returns a Store that keeps each record in a file with mode 0600 in dir. It
// creates dir if necessary. Any number of processes of a host may use it; those of
// several hosts if locks of the file system reach across hosts. A process that is stopped
// in the middle of a Save, by SIGSTOP, keeps the others from changing that record, until
// it continues or is killed.
//
// The store accepts only build ids that the engine makes, so that no id leads out of
// dir, and loads only records that this library wrote, of at most 64 MiB. List removes
// files that a killed process left half written.
func DirStore(dir string) Store { return &dirStore{dir: dir} }

type dirStore struct {
	dir    string
	sweeps sync.Once // on the first Save
}

const (
	longestRecord = 64 << 20 // bytes
	unfinishedAge = time.Hour
	lockPrefix    = ".lock-"
)

// path returns the file of a build.
func (d *dirStore) path(build string) (string, error) {
	if err := validateBuildID(build); err != nil {
		return "", err
	}
	return filepath.Join(d.dir, build+".json"), nil
}

// temp returns the file that becomes that of a build.
func (d *dirStore) temp(build string) string {
	return filepath.Join(d.dir, atomicfile.TempPrefix+build)
}

// lock locks the record of a build for a change.
func (d *dirStore) lock(ctx context.Context, build string) (unlock func(), err error) {
	return filelock.Lock(ctx, filepath.Join(d.dir, lockPrefix+build))
}

func (d *dirStore) Save(ctx context.Context, r *Record) error {
	data, err := EncodeRecord(r)
	if err != nil {
		return err
	}
	path, err := d.path(r.Build)
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	d.sweeps.Do(func() { _, _ = d.sweep(ctx) })
	unlock, err := d.lock(ctx, r.Build)
	if err != nil {
		return err
	}
	defer unlock()
	var revision int64
	stored, err := d.Load(ctx, r.Build)
	switch {
	case err == nil:
		revision = stored.Revision
	case !errors.Is(err, ErrNoRecord):
		return err
	}
	if revision != r.Revision-1 {
		return fmt.Errorf("%w: build %s", ErrConflict, r.Build)
	}
	return atomicfile.WriteVia(d.temp(r.Build), path, data, 0o600)
}

func (d *dirStore) Load(_ context.Context, build string) (*Record, error) {
	path, err := d.path(build)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRecord, err)
	}
	data, err := readRecord(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoRecord, build)
	}
	if err != nil {
		return nil, err
	}
	r, err := DecodeRecord(build, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// readRecord reads a regular file of limited size.
func readRecord(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path) //nolint:gosec // validateBuildID keeps it in the directory
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, longestRecord+1))
	if err == nil && len(data) > longestRecord {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, longestRecord)
	}
	return data, err
}

func (d *dirStore) List(ctx context.Context) ([]string, error) {
	entries, err := d.sweep(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var builds []string
	for _, entry := range entries {
		if build, ok := strings.CutSuffix(entry.Name(), ".json"); ok && validateBuildID(build) == nil {
			builds = append(builds, build)
		}
	}
	slices.Sort(builds) // build ids begin with a timestamp
	return builds, nil
}

func (d *dirStore) Delete(ctx context.Context, build string) error {
	path, err := d.path(build)
	if err != nil {
		return err
	}
	unlock, err := d.lock(ctx, build)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // there is no directory
	}
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(remove(path), remove(d.temp(build)))
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes what killed processes left behind, and returns the entries of the
// directory. A file that cannot be removed is left for the next time.
func (d *dirStore) sweep(ctx context.Context) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(d.dir)
	for _, entry := range entries {
		build, ok := strings.CutPrefix(entry.Name(), atomicfile.TempPrefix)
		if !ok {
			continue
		}
		if validateBuildID(build) == nil {
			d.sweepTemp(ctx, build)
			continue
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > unfinishedAge {
			_ = os.Remove(filepath.Join(d.dir, entry.Name()))
		}
	}
	return entries, err
}

// sweepTemp removes the half-written file of a build, unless a process that lives is
// writing it: that one has the lock.
func (d *dirStore) sweepTemp(ctx context.Context, build string) {
	ctx, cancel := context.WithCancel(ctx)
	cancel() // do not wait for the lock
	if unlock, err := d.lock(ctx, build); err == nil {
		_ = os.Remove(d.temp(build))
		unlock()
	}
}
