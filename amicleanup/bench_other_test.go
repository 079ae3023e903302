//go:build !unix

package amicleanup_test

import "time"

// cpuTime returns zero: the time is unknown on this system.
func cpuTime() time.Duration { return 0 }
