//go:build unix

package qemu

import (
	"os/exec"
	"syscall"
)

// detach starts the process in a session of its own, which gets no signals of the
// terminal.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
