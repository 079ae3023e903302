//go:build linux

package testenv

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/bakestone-go/bakestone/internal/procfs"
)

// setParentDeathSignal makes the kernel kill the process if the test binary dies
// first, as it does without running clean-ups at go test's time limit.
func setParentDeathSignal(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// killDescendants kills the descendants of pid and all processes with marker in
// their environment, and waits until they are gone. Pid itself is stopped
// meanwhile, so that it starts no others. All are stopped before the first is
// killed: otherwise a session would report its command's exit to the client,
// unlike a lost machine.
func killDescendants(pid int, marker string) {
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	for end := time.Now().Add(goneTimeout); time.Now().Before(end); time.Sleep(pollInterval) {
		found := descendants(pid, marker)
		if len(found) == 0 {
			return
		}
		for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
			for _, child := range found {
				_ = syscall.Kill(child, signal)
			}
		}
	}
}

// descendants lists the live descendants of pid and the processes with marker in
// their environment, which include sessions that became daemons.
func descendants(pid int, marker string) []int {
	entries, _ := os.ReadDir("/proc")
	below := map[int]bool{pid: true}
	parents := map[int]int{}
	var found []int
	for _, entry := range entries {
		child, err := strconv.Atoi(entry.Name())
		if err != nil || child == pid || child == os.Getpid() {
			continue
		}
		parent, alive := parentOf(child)
		if !alive {
			continue
		}
		parents[child] = parent
		if marker != "" && bytes.Contains(procfs.Environment(child), []byte(marker)) {
			below[child] = true
			found = append(found, child)
		}
	}
	for grown := true; grown; {
		grown = false
		for child, parent := range parents {
			if below[parent] && !below[child] {
				below[child], grown = true, true
				found = append(found, child)
			}
		}
	}
	return found
}

// parentOf returns the parent of a process and whether the process is alive,
// which a zombie is not.
func parentOf(pid int) (parent int, alive bool) {
	fields, err := procfs.Stat(pid)
	if err != nil || !procfs.Alive(fields) {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}
