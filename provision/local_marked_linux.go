//go:build linux

package provision

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/procfs"
)

// killPasses limits the searches for processes that start while others are being
// killed. Usually two passes suffice.
const killPasses = 100

// killMarked kills every process of this user that has mark, "NAME=VALUE" or the
// beginning of one, in its environment, but not those that have except there, unless it
// is empty.
func killMarked(mark, except string) {
	for range killPasses {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return
		}
		found := false
		for _, entry := range entries {
			pid, err := strconv.Atoi(entry.Name())
			if err != nil || pid == os.Getpid() {
				continue
			}
			if hasMark(procfs.Environment(pid), mark, except) {
				found = true
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if !found {
			return
		}
	}
}

// hasMark reports whether the environment has the mark in a variable without except.
func hasMark(environ []byte, mark, except string) bool {
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.HasPrefix(variable, []byte(mark)) {
			return except == "" || !bytes.Contains(variable, []byte(except))
		}
	}
	return false
}
