//go:build unix

package provision

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// newProcessGroup makes cmd the leader of a process group that receives SIGTERM
// when the command's context ends. The returned func kills the group.
func newProcessGroup(cmd *exec.Cmd) (kill func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	return func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may be empty
		}
	}
}

// exitStatus returns a process's exit status. For a process killed by a signal,
// that is 128 plus the signal's number, along with the signal's name.
func exitStatus(state *os.ProcessState) (status int, signal string) {
	wait, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !wait.Signaled() {
		return state.ExitCode(), ""
	}
	const afterSignal = 128
	return afterSignal + int(wait.Signal()), signalName(wait.Signal())
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGHUP:
		return "HUP"
	case syscall.SIGINT:
		return "INT"
	case syscall.SIGQUIT:
		return "QUIT"
	case syscall.SIGILL:
		return "ILL"
	case syscall.SIGABRT:
		return "ABRT"
	case syscall.SIGBUS:
		return "BUS"
	case syscall.SIGFPE:
		return "FPE"
	case syscall.SIGKILL:
		return "KILL"
	case syscall.SIGSEGV:
		return "SEGV"
	case syscall.SIGPIPE:
		return "PIPE"
	case syscall.SIGALRM:
		return "ALRM"
	case syscall.SIGTERM:
		return "TERM"
	}
	return strconv.Itoa(int(s))
}
