//go:build !linux

package testenv

import "os/exec"

// setParentDeathSignal does nothing: only Linux has parent death signals.
func setParentDeathSignal(*exec.Cmd) {}

// killDescendants does nothing without /proc. A server's sessions end when their
// connections do.
func killDescendants(int, string) {}
