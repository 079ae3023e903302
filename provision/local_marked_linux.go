package provision

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// killPasses bounds how often killMarked looks again. What is killed is there
// for another look or two; only what starts others faster than it is killed
// lasts longer.
const killPasses = 100

// killMarked kills every process of this user that has mark, "NAME=VALUE", in
// its environment, wherever it has moved to.
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
			// It cannot be read of others' processes, and is empty of dead ones.
			environ, err := os.ReadFile("/proc/" + entry.Name() + "/environ")
			if err == nil && bytes.Contains(environ, []byte(mark)) {
				found = true
				_ = syscall.Kill(pid, syscall.SIGKILL) // gone meanwhile is no error
			}
		}
		if !found {
			return
		}
	}
}
