package memfs

import (
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"
)

// A File is an open file. It is safe for concurrent use and stays usable after
// its name is removed.
type File struct {
	fs     *FS
	name   string
	flag   int
	ino    uint64
	device Device
	dir    bool
	node   io.ReadWriteCloser // for a node made by Mknode

	mu     sync.Mutex // guards the fields below; locked before volume.mu
	off    int64
	closed bool
}

// Open opens a file or directory for reading.
func (f *FS) Open(name string) (*File, error) { return f.OpenFile(name, os.O_RDONLY, 0) }

// Create creates or truncates a file and opens it for reading and writing.
func (f *FS) Create(name string) (*File, error) {
	return f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// OpenFile opens a file like [os.OpenFile].
func (f *FS) OpenFile(name string, flag int, mode fs.FileMode) (*File, error) {
	f.vol.mu.Lock()
	defer f.vol.mu.Unlock()
	n, err := f.open(name, flag, mode)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	h := &File{fs: f, name: name, flag: flag, ino: n.ino, device: n.device, dir: n.isDir()}
	if n.opener != nil {
		if h.node, err = n.opener.OpenNode(flag); err != nil {
			return nil, pathError("open", name, err)
		}
	}
	f.vol.open[n.ino]++
	return h, nil
}

func (f *FS) open(name string, flag int, mode fs.FileMode) (*inode, error) {
	exclusive := flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL
	at, err := f.walk(name, !exclusive)
	if err != nil {
		return nil, err
	}
	if at.node == nil {
		switch {
		case flag&os.O_CREATE == 0:
			return nil, syscall.ENOENT
		case strings.HasSuffix(name, "/"):
			return nil, syscall.EISDIR
		}
		return f.add(at, inode{mode: mode & modeBits})
	}
	writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case exclusive:
		return nil, syscall.EEXIST
	case at.node.isDir() && (writes || flag&os.O_CREATE != 0):
		return nil, syscall.EISDIR
	}
	var want Access
	if writes || flag&os.O_TRUNC != 0 {
		want |= Write
	}
	if flag&os.O_WRONLY == 0 {
		want |= Read
	}
	if err := f.cred.check(at.node, want); err != nil {
		return nil, err
	}
	if flag&os.O_TRUNC != 0 && at.node.mode.IsRegular() && at.node.content.size > 0 {
		n := f.vol.writable(at.node.ino)
		f.vol.used -= n.content.held
		n.content = content{}
		n.mtime = f.vol.now()
		return n, nil
	}
	return at.node, nil
}

// Read reads from the current offset.
func (h *File) Read(p []byte) (int, error) {
	if h.node != nil {
		return h.node.Read(p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n, err := h.readAt(p, h.off)
	h.off += int64(n)
	return n, err
}

// ReadAt reads at offset off.
func (h *File) ReadAt(p []byte, off int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, err := h.readAt(p, off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (h *File) readAt(p []byte, off int64) (int, error) {
	switch {
	case h.closed:
		return 0, pathError("read", h.name, fs.ErrClosed)
	case h.flag&os.O_WRONLY != 0:
		return 0, pathError("read", h.name, syscall.EBADF)
	case h.dir:
		return 0, pathError("read", h.name, syscall.EISDIR)
	case off < 0:
		return 0, pathError("read", h.name, syscall.EINVAL)
	case h.device != 0:
		return h.device.read(p)
	case len(p) == 0:
		return 0, nil
	}
	h.fs.vol.mu.RLock()
	defer h.fs.vol.mu.RUnlock()
	n := h.fs.vol.inodes.get(h.ino).content.readAt(p, off)
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write writes at the current offset, or at the end of a file opened with
// os.O_APPEND.
func (h *File) Write(p []byte) (int, error) {
	if h.node != nil {
		return h.node.Write(p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	off := h.off
	if h.flag&os.O_APPEND != 0 {
		off = -1
	}
	end, err := h.writeAt(p, off)
	if err != nil {
		return 0, err
	}
	h.off = end
	return len(p), nil
}

// WriteString is like [File.Write] for a string.
func (h *File) WriteString(s string) (int, error) { return h.Write([]byte(s)) }

// WriteAt writes at offset off. A gap after the end of the file reads as zeros.
func (h *File) WriteAt(p []byte, off int64) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if off < 0 || h.flag&os.O_APPEND != 0 {
		return 0, pathError("write", h.name, syscall.EINVAL)
	}
	if _, err := h.writeAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// writeAt writes at off, or at the end of the file if off is -1, and returns
// the offset after the write.
func (h *File) writeAt(p []byte, off int64) (int64, error) {
	switch {
	case h.closed:
		return 0, pathError("write", h.name, fs.ErrClosed)
	case h.flag&(os.O_WRONLY|os.O_RDWR) == 0:
		return 0, pathError("write", h.name, syscall.EBADF)
	case h.device != 0:
		_, err := h.device.write(p)
		return h.off, pathError("write", h.name, err)
	}
	v := h.fs.vol
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.writable(h.ino)
	if off < 0 {
		off = n.content.size
	}
	if max := v.limits.FileSize; off > math.MaxInt64-int64(len(p)) || max > 0 && off+int64(len(p)) > max {
		return h.off, pathError("write", h.name, syscall.EFBIG)
	}
	grows := n.content.growth(len(p), off)
	if err := v.room(grows); err != nil {
		return h.off, pathError("write", h.name, err)
	}
	v.used += grows
	n.content.writeAt(p, off, v.owner)
	n.mtime = v.now()
	return off + int64(len(p)), nil
}

// Seek sets the offset for the next Read or Write.
func (h *File) Seek(offset int64, whence int) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, pathError("seek", h.name, fs.ErrClosed)
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += h.off
	case io.SeekEnd:
		offset += h.stat().Size()
	default:
		offset = -1
	}
	if offset < 0 {
		return 0, pathError("seek", h.name, syscall.EINVAL)
	}
	h.off = offset
	return offset, nil
}

// Stat describes the open file.
func (h *File) Stat() (*Info, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, pathError("stat", h.name, fs.ErrClosed)
	}
	return h.stat(), nil
}

func (h *File) stat() *Info {
	h.fs.vol.mu.RLock()
	defer h.fs.vol.mu.RUnlock()
	return info(base(h.name), h.fs.vol.inodes.get(h.ino))
}

func base(name string) string {
	name = trimSlashes(name)
	return name[strings.LastIndexByte(name, '/')+1:]
}

// Truncate sets the length of the open file.
func (h *File) Truncate(size int64) error {
	return h.change("truncate", func(n *inode) error {
		if h.flag&(os.O_WRONLY|os.O_RDWR) == 0 || size < 0 || !n.mode.IsRegular() {
			return syscall.EINVAL
		}
		if err := h.fs.vol.truncate(n, size); err != nil {
			return err
		}
		n.mtime = h.fs.vol.now()
		return nil
	})
}

// truncate sets the length of n, which must be writable.
func (v *volume) truncate(n *inode, size int64) error {
	if v.limits.FileSize > 0 && size > max(v.limits.FileSize, n.content.size) {
		return syscall.EFBIG
	}
	v.used -= n.content.held
	n.content.truncate(size, v.owner)
	v.used += n.content.held
	return nil
}

// Chmod sets the mode of the open file.
func (h *File) Chmod(mode fs.FileMode) error {
	return h.change("chmod", func(n *inode) error { return h.fs.chmod(n, mode) })
}

// Chown sets the owner and group of the open file.
func (h *File) Chown(uid, gid int) error {
	return h.change("chown", func(n *inode) error { return h.fs.chown(n, uid, gid) })
}

func (h *File) change(op string, do func(*inode) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return pathError(op, h.name, fs.ErrClosed)
	}
	h.fs.vol.mu.Lock()
	defer h.fs.vol.mu.Unlock()
	return pathError(op, h.name, do(h.fs.vol.writable(h.ino)))
}

// Close closes the file. A second Close fails with fs.ErrClosed.
func (h *File) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return pathError("close", h.name, fs.ErrClosed)
	}
	h.closed = true
	if h.node != nil {
		defer func() { _ = h.node.Close() }()
	}
	h.fs.vol.mu.Lock()
	defer h.fs.vol.mu.Unlock()
	h.fs.vol.closeInode(h.ino)
	return nil
}

func (v *volume) closeInode(ino uint64) {
	if v.open[ino]--; v.open[ino] > 0 {
		return
	}
	delete(v.open, ino)
	if n := v.inodes.get(ino); n != nil {
		v.dropUnused(n)
	}
}
