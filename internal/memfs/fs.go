package memfs

import (
	"io/fs"
	"sync"
	"time"
)

// An FS is a file system as one user sees it. All handles that As made of one
// FS share its files.
type FS struct {
	vol   *volume
	cred  Cred
	umask fs.FileMode
}

// volume is what the handles of one file system share. Everything in it is
// guarded by mu.
type volume struct {
	mu     sync.RWMutex
	now    func() time.Time
	owner  *owner // whose blocks this volume may write in place; new at every Clone
	inodes *layer
	next   uint64 // the next inode number
	open   map[uint64]int
}

// owner marks blocks that one volume made and shares with nobody. It has a
// size so that no two have the same address.
type owner struct{ _ byte }

const rootIno = 1

// New returns an empty file system owned by root. A nil now is time.Now.
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

// As returns a handle that acts with cred; the mode of what it creates loses
// the bits of umask.
func (f *FS) As(cred Cred, umask fs.FileMode) *FS {
	return &FS{vol: f.vol, cred: cred, umask: umask & fs.ModePerm}
}

// Cred is whom the handle acts for.
func (f *FS) Cred() Cred { return f.cred }

// Umask is what the mode of new files loses.
func (f *FS) Umask() fs.FileMode { return f.umask }

// SetTime changes the clock that stamps changes from now on, for every handle.
func (f *FS) SetTime(now func() time.Time) {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	f.vol.now = now
}

// Clone returns a copy of the whole file system, acting as root. Neither sees
// what is changed in the other afterwards. Its cost does not depend on how
// much the file system holds. Files that are open stay with the original.
func (f *FS) Clone() *FS {
	v := f.vol
	v.mu.Lock()
	defer v.mu.Unlock()
	// From here on neither may write in place what both can see.
	v.owner = new(owner)
	base := v.inodes.freeze()
	v.inodes = newLayer(base)
	return &FS{vol: &volume{
		now: v.now, owner: new(owner), inodes: newLayer(base), next: v.next, open: map[uint64]int{},
	}}
}
