//go:build !unix

package sandbox

import "github.com/bakestone-go/bakestone/internal/memfs"

// statInfo is a memfs.Info in the shape that the interpreter asserts.
type statInfo struct{ *memfs.Info }
