//go:build linux

// Package procfs reads what Linux tells about processes below /proc.
package procfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// execWait limits the wait for a process that executes a program.
const execWait = time.Second

// Environment returns the environment with which a process began its program, as
// variables that each end with a zero byte. It returns nothing for a process that has none
// or has ended, and for those of other users, whose environment is unreadable.
//
// While a process executes a program its environment is empty for a moment, which lasts up
// to some 100 ms on a machine with much to do. Environment waits for its end.
func Environment(pid int) []byte {
	for end := time.Now().Add(execWait); ; {
		environ, err := fs.ReadFile(process(pid), "environ")
		if err != nil || len(environ) > 0 || time.Now().After(end) {
			return environ
		}
		fields, err := Stat(pid)
		if err != nil || !hasEnvironment(fields) {
			return nil
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // the kernel knows no other clock
	}
}

// hasEnvironment reports whether a process has an environment or is about to get one, by
// its fields of Stat.
func hasEnvironment(fields []string) bool {
	const size, begin, end = 20, 47, 48 // of the memory; of the environment in it
	if len(fields) <= end {
		return false // before Linux 3.5
	}
	kernel := fields[size] == "0" // a thread of the kernel, or one about to end
	return Alive(fields) && !kernel && (fields[end] == "0" || fields[begin] != fields[end])
}

// Alive reports whether a process with these fields of Stat has not ended.
func Alive(fields []string) bool { return fields[0] != "Z" && fields[0] != "X" }

// Stat returns the fields of /proc/PID/stat that follow the name: the state, the parent's
// id and so on, as proc(5) has them from field 3 on. There are at least two.
func Stat(pid int) ([]string, error) {
	stat, err := fs.ReadFile(process(pid), "stat")
	if err != nil {
		return nil, err
	}
	// The name, in parentheses, may contain spaces and parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return nil, fmt.Errorf("/proc/%d/stat has no state: %q", pid, stat)
	}
	return fields, nil
}

func process(pid int) fs.FS { return os.DirFS("/proc/" + strconv.Itoa(pid)) }
