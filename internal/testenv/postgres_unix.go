//go:build unix

package testenv

import (
	"os"
	"os/exec"
	"syscall"
)

const nobody = 65534

// giveAway gives a directory to the user that setUnprivileged selects.
func giveAway(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(dir, nobody, nobody)
}

// setUnprivileged makes cmd run as nobody if this process is root's.
func setUnprivileged(cmd *exec.Cmd) {
	if os.Geteuid() != 0 {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}
