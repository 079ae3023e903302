package boottime

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonicRaw is CLOCK_MONOTONIC_RAW of macOS, which continues during sleep.
const monotonicRaw = 4

func sinceBoot() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(monotonicRaw, &now) != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
