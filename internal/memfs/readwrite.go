package memfs

import (
	"io/fs"
	"os"
	"syscall"
)

// ReadFile returns the content of the named regular file.
func (f *FS) ReadFile(name string) ([]byte, error) {
	f.vol.mu.RLock()
	defer f.vol.mu.RUnlock()
	at, err := f.find(name, true)
	if err == nil && at.node.isDir() {
		err = syscall.EISDIR
	}
	if err == nil {
		err = f.cred.check(at.node, Read)
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if limit := f.vol.limits.Size; limit > 0 && at.node.content.size > limit { // a sparse file
		return nil, pathError("read", name, syscall.ENOMEM)
	}
	data := make([]byte, at.node.content.size)
	at.node.content.readAt(data, 0)
	return data, nil
}

// WriteFile replaces the content of the named file with data. If the file does
// not exist, it is created with mode.
func (f *FS) WriteFile(name string, data []byte, mode fs.FileMode) error {
	h, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := h.Write(data); err != nil {
		_ = h.Close()
		return err
	}
	return h.Close()
}
