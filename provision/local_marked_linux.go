//go:build linux

package provision

import (
	"bytes"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
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
			if hasMark(environment(pid), mark, except) {
				found = true
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
			}
		}
		if !found {
			return
		}
	}
}

// execWait limits the wait for a process that executes a program.
const execWait = time.Second

// environment returns the environment with which a process has begun its program, or
// nothing for a dead one and those of other users, whose is unreadable.
//
// While a process executes a program its environment is empty for a moment, which lasts
// some milliseconds on a machine with much to do. environment waits for its end.
func environment(pid int) []byte {
	dir := os.DirFS("/proc/" + strconv.Itoa(pid))
	for end := time.Now().Add(execWait); ; {
		environ, err := fs.ReadFile(dir, "environ")
		if err != nil || len(environ) > 0 || time.Now().After(end) {
			return environ
		}
		stat, err := fs.ReadFile(dir, "stat")
		if err != nil || !hasEnvironment(stat) {
			return nil
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // the kernel knows no other clock
	}
}

// hasEnvironment reports whether a process has an environment or is about to get one, by
// its line of /proc/PID/stat.
func hasEnvironment(stat []byte) bool {
	// The name, in parentheses, may contain spaces and parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const size, begin, end = 20, 47, 48 // of the memory; of the environment in it
	if len(fields) <= end {
		return false // before Linux 3.5
	}
	dead := fields[0] == "Z" || fields[0] == "X"
	kernel := fields[size] == "0" // a thread of the kernel, or about to end
	return !dead && !kernel && (fields[end] == "0" || fields[begin] != fields[end])
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
