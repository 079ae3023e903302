package ec2test

import (
	"time"

	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// MachineLimits bounds what a machine may use of the test process, so that a script
// cannot exhaust it. A script that exceeds a limit gets the error or signal of a real
// machine, and the console names the limit. A zero field means the default, a
// negative field unlimited.
type MachineLimits struct {
	// Memory is how many bytes the variables and buffers of all processes may
	// hold. The default is 64 MiB. jq may allocate twice as many in all.
	Memory int64

	// Processes is how many processes may run at once. The default is 1,000.
	Processes int

	// Disk is the size of the file system in bytes. The default is 256 MiB.
	Disk int64

	// FileSize is the size of the largest file in bytes. By default only
	// Disk limits it.
	FileSize int64

	// Output is how many bytes a command over SSH may write to its client. The
	// default is 64 MiB.
	Output int64

	// Steps is how many commands, iterations and writes a login may execute. The
	// default is 5 million.
	Steps int64

	// Time is how long a login may take by the server's clock. The default is 48
	// hours. Background jobs may run longer.
	Time time.Duration

	// Depth is how deeply function calls, sourced files and eval may nest. The
	// default is 1,000.
	Depth int
}

var _ = sandbox.Limits(MachineLimits{}) // the fields are the same
