// Package atomicfile replaces files atomically.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// TempPrefix begins the names of the files that a killed process may leave behind in
// the directory of the file it was writing.
const TempPrefix = ".saving-"

// Write writes data to the file at path with the given mode, regardless of the umask.
// Readers see either the old content or the new one. Once Write has returned nil, the new
// one survives a crash of the system, where directories can be synced. The directory must
// exist. If Write fails, path is as it was or, if only its directory could not be synced,
// replaced.
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

func write(file *os.File, path string, data []byte, mode fs.FileMode) error {
	_, err := file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// MkdirAll creates a directory with its parents, as os.MkdirAll does. Once it has returned
// nil, those that it created survive a crash of the system, where directories can be
// synced.
func MkdirAll(dir string, mode fs.FileMode) error {
	if _, err := os.Stat(dir); err == nil {
		return os.MkdirAll(dir, mode)
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a directory survive a crash of the system. It returns nil
// where directories cannot be synced.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir) //nolint:gosec // the caller chooses the name
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // the file system cannot
	}
	return errors.Join(err, d.Close())
}
