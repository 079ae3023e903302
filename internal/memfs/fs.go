package memfs

import (
	"io/fs"
	"sync"
	"time"
)

// An FS is a file system as one user sees it. All handles returned by [FS.As]
// share its files.
type FS struct {
	vol   *volume
	cred  Cred
	umask fs.FileMode
	root  uint64 // the root directory's inode; 0 is that of the volume
}

// volume is the state shared by the handles of one file system.
type volume struct {
	mu     sync.RWMutex // guards all fields
	now    func() time.Time
	owner  *owner // marks what this volume may write in place; new at every Clone
	inodes *layer
	next   uint64         // the next inode number
	open   map[uint64]int // open files per inode
	limits Limits
	used   int64 // bytes of content and inodes

	trees  map[uint64]bool   // root directories of other file systems
	mounts map[uint64]uint64 // what is visible in place of a directory
}

// Limits bounds a file system. A zero field means unlimited.
type Limits struct {
	Size     int64 // bytes of all files; each file, link and directory costs a few hundred bytes besides its content
	FileSize int64 // bytes of one file
}

// owner marks inodes and blocks that belong to a single volume. It has a size
// so that no two share an address.
type owner struct{ _ byte }

const rootIno = 1

// New returns an empty file system owned by root. If now is nil, time.Now is
// used.
func New(now func() time.Time) *FS {
	if now == nil {
		now = time.Now
	}
	v := &volume{now: now, owner: new(owner), inodes: newLayer(nil), next: rootIno + 1, open: map[uint64]int{}}
	v.inodes.set(rootIno, &inode{
		ino: rootIno, mode: fs.ModeDir | 0o755, nlink: 2, mtime: now(), entries: map[string]uint64{},
	})
	return &FS{vol: v}
}

// As returns a handle that acts with cred and clears the bits of umask in the
// modes of the files it creates.
func (f *FS) As(cred Cred, umask fs.FileMode) *FS {
	return &FS{vol: f.vol, cred: cred, umask: umask & fs.ModePerm, root: f.root}
}

// Cred returns the credential the handle acts with.
func (f *FS) Cred() Cred { return f.cred }

// SetTime sets the clock used to timestamp later changes through any handle.
func (f *FS) SetTime(now func() time.Time) {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	f.vol.now = now
}

// SetLimits bounds the file system from now on, through any handle. A write
// beyond a limit fails with ENOSPC or EFBIG.
func (f *FS) SetLimits(l Limits) {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	f.vol.limits = l
}

// Usage returns the bytes in use and the limit, which is 0 if there is none.
func (f *FS) Usage() (used, limit int64) {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	return f.vol.used, f.vol.limits.Size
}

// Clone returns a copy of the root file system, acting as root, without other trees
// and mounts. Later changes
// to one are not visible in the other. Its cost does not depend on the size of
// the file system. Open files stay with the original.
func (f *FS) Clone() *FS {
	v := f.vol
	v.mu.Lock()
	defer v.mu.Unlock()
	// From here on neither may write shared blocks in place.
	v.owner = new(owner)
	base := v.inodes.freeze()
	v.inodes = newLayer(base)
	made := &volume{
		now: v.now, owner: new(owner), inodes: newLayer(base), next: v.next, open: map[uint64]int{},
		limits: v.limits, used: v.used,
	}
	made.cloneTrees(v)
	return &FS{vol: made}
}
