//go:build unix

package testenv

import (
	"os"
	"os/exec"
	"syscall"
)

const unprivileged = 65534 // the user without rights

// giveAway gives a directory to the user that setUnprivileged selects.
func giveAway(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(dir, unprivileged, unprivileged)
}

// setUnprivileged makes cmd run without rights if this process is root's.
func setUnprivileged(cmd *exec.Cmd) {
	if os.Geteuid() != 0 {
		return
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unprivileged, Gid: unprivileged}}
}
