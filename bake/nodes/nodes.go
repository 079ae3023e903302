package nodes

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A Node is one entry of a node list.
type Node[T any] struct {
	Name  string // letters, digits, and ". - _" after the first
	Attrs T
	File  string // as it was given to Load, LoadFS or Read
	Line  int    // of its name in File, counted from 1
}

// Load reads the node list in the file at path. The nodes are in the order of
// the file. Every error in the list is an *Error; they are joined.
func Load[T any](path string) ([]Node[T], error) {
	text, err := os.ReadFile(path) //nolint:gosec // the caller chooses the file
	if err != nil {
		return nil, fmt.Errorf("node list: %w", err)
	}
	return parse[T](text, path)
}

// LoadFS is Load from a file of fsys.
func LoadFS[T any](fsys fs.FS, path string) ([]Node[T], error) {
	text, err := fs.ReadFile(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("node list: %w", err)
	}
	return parse[T](text, path)
}

// Read is Load from r until its end; errors name the list as file.
func Read[T any](r io.Reader, file string) ([]Node[T], error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("node list %s: %w", file, err)
	}
	return parse[T](text, file)
}
