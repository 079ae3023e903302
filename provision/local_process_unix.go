//go:build unix

package provision

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// ownGroup makes cmd the leader of a process group, which is told to end when
// the command's context does. The returned func kills what is left of it.
func ownGroup(cmd *exec.Cmd) (kill func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	return func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // none left is no error
		}
	}
}

// exitOf is a process's exit status, or 128 and the number of the signal that
// killed it, and the signal's name.
func exitOf(state *os.ProcessState) (status int, signal string) {
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
