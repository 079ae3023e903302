package memfs

import (
	"crypto/rand"
	"io"
	"io/fs"
	"syscall"
)

// A Device says how a device file reads and writes.
type Device int

// The devices there are.
const (
	Null   Device = iota + 1 // reads as empty, swallows what is written
	Zero                     // reads as zeros without end
	Random                   // reads as random bytes without end
	Full                     // reads as zeros, and has no space for a byte
)

// Mknod makes a device file. Only root may.
func (f *FS) Mknod(name string, mode fs.FileMode, device Device) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.walk(name, false)
	if err == nil && !f.cred.root() {
		err = syscall.EPERM
	}
	if err == nil {
		_, err = f.add(at, inode{mode: fs.ModeDevice | fs.ModeCharDevice | mode.Perm(), device: device})
	}
	return pathError("mknod", name, err)
}

func (d Device) read(p []byte) (int, error) {
	switch d {
	case Null:
		return 0, io.EOF
	case Random:
		return rand.Read(p)
	default:
		clear(p)
		return len(p), nil
	}
}

func (d Device) write(p []byte) (int, error) {
	if d == Full {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}
