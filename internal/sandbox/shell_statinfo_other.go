//go:build !unix

package sandbox

import "github.com/bakestone-go/bakestone/internal/memfs"

// statInfo is a memfs.Info; the interpreter expects no Sys value here.
type statInfo struct{ *memfs.Info }
