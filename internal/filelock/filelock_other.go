//go:build !darwin && !dragonfly && !freebsd && !illumos && !linux && !netbsd && !openbsd && !windows

package filelock

import "os"

func tryLock(*os.File) error { return ErrUnsupported }
