// Package atomicfile replaces files atomically.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// TempPrefix begins the names of the files that a killed process may leave behind in
// the directory of the file it was writing.
const TempPrefix = ".saving-"

// Write writes data to the file at path with the given mode, regardless of the umask.
// Readers see either the old content or the new one, even after a crash. The
// directory must exist. If Write fails, it leaves path as it was.
func Write(path string, data []byte, mode fs.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), TempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	return write(file, path, data, mode)
}

// WriteVia is Write through the file at temp, in the same directory, which it creates or
// overwrites. The caller must keep others from using temp meanwhile.
func WriteVia(temp, path string, data []byte, mode fs.FileMode) error {
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // the caller chooses the name
	if err != nil {
		return err
	}
	return write(file, path, data, mode)
}

func write(file *os.File, path string, data []byte, mode fs.FileMode) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	syncDir(filepath.Dir(path))
	return nil
}

// syncDir makes the new name survive a crash of the system, where directories can be
// synced.
func syncDir(dir string) {
	d, err := os.Open(dir) //nolint:gosec // the caller chooses the name
	if err != nil {
		return
	}
	_ = d.Sync() // some systems and file systems cannot
	_ = d.Close()
}
