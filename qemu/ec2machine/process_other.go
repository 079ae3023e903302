//go:build !linux

package ec2machine

import "os/exec"

// endWithParent does nothing: QEMU survives its parent.
func endWithParent(*exec.Cmd) {}
