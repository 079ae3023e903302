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
)

// DirStore returns a Store that keeps each record in a file with mode 0600 in dir. It
// creates dir if necessary.
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
	slices.Sort(builds) // build ids begin with a timestamp
	return builds, nil
}

func (d dirStore) Delete(_ context.Context, build string) error {
	err := os.Remove(d.path(build))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
