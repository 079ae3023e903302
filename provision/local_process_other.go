//go:build !unix

package provision

import (
	"os"
	"os/exec"
)

// newProcessGroup does nothing, since there are no process groups: os/exec kills
// only the command itself.
func newProcessGroup(*exec.Cmd) (kill func()) { return func() {} }

func exitStatus(state *os.ProcessState) (status int, signal string) { return state.ExitCode(), "" }
