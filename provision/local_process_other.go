//go:build !unix

package provision

import (
	"os"
	"os/exec"
)

// ownGroup does nothing where there are no process groups: os/exec kills the
// command itself.
func ownGroup(*exec.Cmd) (kill func()) { return func() {} }

func exitOf(state *os.ProcessState) (status int, signal string) { return state.ExitCode(), "" }
