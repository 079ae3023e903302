//go:build linux

package ec2machine

import (
	"os/exec"
	"syscall"
)

// endWithParent makes the kernel kill QEMU when the thread that started it ends.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
