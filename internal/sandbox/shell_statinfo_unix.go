//go:build unix

package sandbox

import (
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// statInfo is a memfs.Info in the shape that the interpreter asserts.
type statInfo struct{ *memfs.Info }

func (i statInfo) Sys() any {
	return &syscall.Stat_t{Uid: uint32(i.UID()), Gid: uint32(i.GID())} //nolint:gosec // ids are never negative
}
