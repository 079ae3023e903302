package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// makeDirs makes the missing directories above a file that is to be written: a
// bake must not fail for want of them when everything else is done.
func makeDirs(path string) error {
	const mode = 0o755
	return os.MkdirAll(filepath.Dir(path), mode)
}

// writeJSON replaces a file, whole or not at all. It can be read by everyone.
func writeJSON(path string, v any) (err error) {
	const mode = 0o644
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := makeDirs(path); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".writing-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(append(data, '\n'))
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

const (
	lockTries  = 600
	lockPause  = 50 * time.Millisecond
	staleAfter = time.Minute // no program holds a lock for that long
)

// lockFile makes this the only program that changes the file at path until
// unlock. The lock is a file of its own; one that a dead program left is taken
// over after a minute. Other programs live in real time, so it waits in that.
func lockFile(ctx context.Context, path string) (unlock func() error, err error) {
	if err := makeDirs(path); err != nil {
		return nil, err
	}
	lock := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for range lockTries {
		file, err := os.OpenFile(lock, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // G304: it lies beside the caller's own file
		if err == nil {
			return func() error { return os.Remove(lock) }, file.Close()
		}
		removing := runtime.GOOS == "windows" && errors.Is(err, fs.ErrPermission)
		if !errors.Is(err, fs.ErrExist) && !removing {
			return nil, err
		}
		if info, statErr := os.Stat(lock); statErr == nil && time.Since(info.ModTime()) > staleAfter {
			if err := os.Remove(lock); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			continue
		}
		if err := clock.System().Sleep(ctx, lockPause); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is in use: remove %s if no program writes it", path, lock)
}
