//go:build unix

package sandbox

import (
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// statInfo is a memfs.Info with the Sys value that the interpreter expects.
type statInfo struct{ *memfs.Info }

func (i statInfo) Sys() any {
	return &syscall.Stat_t{Uid: uint32(i.UID()), Gid: uint32(i.GID())} //nolint:gosec // ids are never negative
}
