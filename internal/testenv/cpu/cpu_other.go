//go:build !unix

package cpu

import "time"

var started = time.Now()

// Used returns the time since the process started, for want of a better measure.
func Used() time.Duration { return time.Since(started) }
