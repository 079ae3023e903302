package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/bakestone-go/bakestone/bake"
)

// A JSONFile is a bake.Publisher that writes the AMI as JSON: its fields, with
// all ids, the source and the build. It replaces a file that exists.
type JSONFile struct {
	// Path is the file. It is required. Missing directories above it are made.
	Path string
}

var (
	_ bake.Publisher = JSONFile{}
	_ bake.Validator = JSONFile{}
)

// String names the file.
func (f JSONFile) String() string { return "file " + f.Path }

// Validate reports a missing path.
func (f JSONFile) Validate() error {
	if f.Path == "" {
		return bake.Invalid("JSONFile.Path", "is required")
	}
	return nil
}

// Publish writes the file, whole or not at all.
func (f JSONFile) Publish(_ context.Context, a bake.Artifact) error { return writeJSON(f.Path, a) }

// makeDirs makes the missing directories above a file that is to be written: a
// bake must not fail for want of them when everything else is done.
func makeDirs(path string) error {
	const mode = 0o755
	return os.MkdirAll(filepath.Dir(path), mode)
}

// writeJSON replaces a file, whole or not at all. It can be read by everyone.
func writeJSON(path string, v any) (err error) {
	const mode = 0o644
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := makeDirs(path); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".writing-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(append(data, '\n'))
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
