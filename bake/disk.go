package bake

import (
	"context"
	"io"
)

// A Machineless is a Session that may have no machine, for example because it makes an
// artifact of a disk as it is.
type Machineless interface {
	// IsMachineless reports whether the session has no machine. Connect is then never
	// called, and the image has no provisioners, which the Builder's Validate reports.
	IsMachineless() bool
}

// machineless reports whether a session has no machine.
func machineless(s Session) bool {
	m, ok := As[Machineless](s)
	return ok && m.IsMachineless()
}

// An ArtifactChecker is a Check that needs no machine, since it reads the artifact itself.
// It runs before a machine is booted for the other checks, if there are any. Check is not
// called.
type ArtifactChecker interface {
	CheckArtifact(ctx context.Context, a Artifact) error
}

// needsMachine reports whether a check needs a machine.
func needsMachine(c Check) bool {
	_, without := As[ArtifactChecker](c)
	return !without
}

// A DiskReader is an Artifact whose disks can be read without a machine.
type DiskReader interface {
	// ReadDisks calls read with the disks, which can be read until it returns.
	ReadDisks(ctx context.Context, read func(SystemDisks) error) error
}

// SystemDisks are the disks of a machine.
type SystemDisks struct {
	Architecture string // "x86_64" or "arm64"; empty if unknown
	Login        string // the user to log in as; empty if unknown

	// Disks has the disk that boots first.
	Disks []Disk
}

// A Disk is a disk as its machine sees it.
type Disk struct {
	Name string // empty for the disk that boots
	DiskContents
}

// DiskContents are the bytes of a disk. Its methods may be called from several goroutines.
type DiskContents interface {
	io.ReaderAt

	// Size returns the size of the disk in bytes.
	Size() int64

	// NextData returns the first range at off or after it that may have other bytes
	// than zeros. At the end of the disk start is its size.
	NextData(off int64) (start, end int64, err error)
}
