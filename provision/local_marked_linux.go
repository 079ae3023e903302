//go:build linux

package provision

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// killPasses limits the searches for processes that start while others are being
// killed. Usually two passes suffice.
const killPasses = 100

// killMarked kills every process of this user that has mark, "NAME=VALUE", in
// its environment.
func killMarked(mark string) {
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
			// Unreadable for other users' processes, empty for dead ones.
			environ, err := os.ReadFile("/proc/" + entry.Name() + "/environ")
			if err == nil && bytes.Contains(environ, []byte(mark)) {
				found = true
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if !found {
			return
		}
	}
}
