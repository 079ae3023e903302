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
	File  string // as passed to Load, LoadFS or Read
	Line  int    // of the name in File, counted from 1
}

// Load reads the node list in the file at path and returns the nodes in the order of
// the file. It reports all problems of the list, joined, each as an [*Error].
func Load[T any](path string) ([]Node[T], error) {
	text, err := os.ReadFile(path) //nolint:gosec // the caller chooses the file
	if err != nil {
		return nil, fmt.Errorf("node list: %w", err)
	}
	return parse[T](text, path)
}

// LoadFS is like Load for a file of fsys.
func LoadFS[T any](fsys fs.FS, path string) ([]Node[T], error) {
	text, err := fs.ReadFile(fsys, path)
	if err != nil {
		return nil, fmt.Errorf("node list: %w", err)
	}
	return parse[T](text, path)
}

// Read is like Load for a list read from r. Errors name it file.
func Read[T any](r io.Reader, file string) ([]Node[T], error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("node list %s: %w", file, err)
	}
	return parse[T](text, file)
}
