//go:build !linux

package testenv

import "os/exec"

// tie does nothing here: only Linux ends a child with its parent.
func tie(*exec.Cmd) {}

// killTree does nothing here: without /proc, what a server started ends when
// its connection does.
func killTree(int, string) {}
