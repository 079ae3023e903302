package testenv

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// killLimit bounds the wait for killed processes to be gone.
const killLimit = 10 * time.Second

// tie makes the kernel kill the process when the test binary dies first, as it
// does at go test's time limit, where no clean-up runs.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// killTree kills what pid has started, directly or not, and everything that
// carries marker in its environment, and waits until all of it is gone. Pid is
// frozen meanwhile, so that it starts nothing unseen, and lives on. All of them
// are frozen before the first is killed, or a session would tell its client how
// its command died, where a lost machine tells nothing.
func killTree(pid int, marker string) {
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	for end := time.Now().Add(killLimit); time.Now().Before(end); time.Sleep(lookAgain) {
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

// descendants lists the living processes below pid and those with marker in
// their environment; a session that has made itself a daemon is among the
// latter only.
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
		environ, _ := os.ReadFile("/proc/" + entry.Name() + "/environ")
		if marker != "" && bytes.Contains(environ, []byte(marker)) {
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

// parentOf reads the parent of a process, and whether the process still runs: a
// zombie does not.
func parentOf(pid int) (parent int, alive bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// The name, in parentheses, may hold anything; the fields after it do not.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return parent, err == nil
}
