package memfs

import (
	"io"
	"io/fs"
	"syscall"
)

// ReadDir returns the next entries of an open directory by name: n of them,
// or all the rest when n is not positive. With n positive the end is io.EOF.
func (h *File) ReadDir(n int) ([]fs.DirEntry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, pathError("readdir", h.name, fs.ErrClosed)
	case !h.dir:
		return nil, pathError("readdir", h.name, syscall.ENOTDIR)
	}
	h.fs.vol.mu.RLock()
	all := h.fs.vol.list(h.fs.vol.inodes.get(h.ino))
	h.fs.vol.mu.RUnlock()
	rest := all[min(h.listed, len(all)):]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	h.listed += len(rest)
	return rest, nil
}
