package bake

import (
	"context"
	"encoding/json"
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
)

// DirStore returns a Store that keeps each record in a file with mode 0600 in dir. It
// creates dir if necessary.
//
// The store accepts only build ids that the engine makes, so that no id leads out of
// dir, and loads only records that this library wrote, of at most 64 MiB. It removes
// files that a killed process left half written an hour ago or earlier.
func DirStore(dir string) Store { return &dirStore{dir: dir} }

type dirStore struct {
	dir    string
	sweeps sync.Once // on the first Save
}

const (
	longestRecord = 64 << 20 // bytes
	unfinishedAge = time.Hour
)

// path returns the file of a build.
func (d *dirStore) path(build string) (string, error) {
	if err := validateBuildID(build); err != nil {
		return "", err
	}
	return filepath.Join(d.dir, build+".json"), nil
}

func (d *dirStore) Save(_ context.Context, r *Record) error {
	if err := r.validate(); err != nil {
		return err
	}
	path, err := d.path(r.Build)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("record of build %s: %w", r.Build, err)
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	d.sweeps.Do(func() { _, _ = d.sweep() })
	return atomicfile.Write(path, data, 0o600)
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
	r := new(Record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("record of build %s: %w", build, err)
	}
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Build != build {
		return nil, fmt.Errorf("%s: record of another build, %s", path, r.Build)
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

func (d *dirStore) List(context.Context) ([]string, error) {
	entries, err := d.sweep()
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

func (d *dirStore) Delete(_ context.Context, build string) error {
	path, err := d.path(build)
	if err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sweep removes what killed processes left half written, and returns the entries of
// the directory. A file that cannot be removed is left for the next time.
func (d *dirStore) sweep() ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(d.dir)
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), atomicfile.TempPrefix) {
			continue
		}
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > unfinishedAge {
			_ = os.Remove(filepath.Join(d.dir, entry.Name()))
		}
	}
	return entries, err
}
