package ec2

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
)

// A JSONFile is a [bake.Publisher] that writes the [AMI] to a file as JSON. It
// replaces an existing file.
type JSONFile struct {
	// Path is the file's path. It is required. Missing parent directories are
	// created.
	Path string
}

var (
	_ bake.Publisher = JSONFile{}
	_ bake.Validator = JSONFile{}
)

// String returns "file " and the path.
func (f JSONFile) String() string { return "file " + f.Path }

// Validate reports a missing path.
func (f JSONFile) Validate() error {
	if f.Path == "" {
		return bake.Invalid("JSONFile.Path", "is required")
	}
	return nil
}

// Publish writes the file atomically.
func (f JSONFile) Publish(_ context.Context, a bake.Artifact) error { return writeJSON(f.Path, a) }

// makeDirs creates the missing parent directories of a file: a bake must not fail
// for lack of them when everything else is done.
func makeDirs(path string) error {
	const mode = 0o755
	return os.MkdirAll(filepath.Dir(path), mode)
}

// writeJSON writes a world-readable file atomically.
func writeJSON(path string, v any) error {
	const mode = 0o644
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := makeDirs(path); err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), mode)
}
