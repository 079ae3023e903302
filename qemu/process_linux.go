//go:build linux

package qemu

import (
	"os/exec"
	"syscall"
)

// endWithParent makes the kernel kill the process when the thread that started it ends.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
