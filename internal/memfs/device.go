package memfs

import (
	"crypto/rand"
	"io"
	"io/fs"
	"syscall"
)

// A Device is the kind of a device file.
type Device int

// The supported devices.
const (
	Null   Device = iota + 1 // reads as empty, discards writes
	Zero                     // reads as endless zeros, discards writes
	Random                   // reads as endless random bytes, discards writes
	Full                     // reads as endless zeros, fails writes with ENOSPC
)

// Mknod creates a device file. It is permitted to root only.
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

// An Opener provides what is read from and written to a node made by
// [FS.Mknode]. The flags are those of OpenFile.
type Opener interface {
	OpenNode(flag int) (io.ReadWriteCloser, error)
}

// Mknode creates a node that each OpenFile opens through o: a block device if mode
// has fs.ModeDevice, else a named pipe.
func (f *FS) Mknode(name string, mode fs.FileMode, o Opener) error {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	at, err := f.walk(name, false)
	if err == nil {
		kind := fs.ModeNamedPipe
		if mode&fs.ModeDevice != 0 {
			kind = fs.ModeDevice
		}
		_, err = f.add(at, inode{mode: kind | mode.Perm(), opener: o})
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
