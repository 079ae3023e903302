//go:build !unix

package qemu

import "os/exec"

// detach does nothing: processes survive their parents.
func detach(*exec.Cmd) {}
