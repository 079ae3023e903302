// Package amount counts bytes that are moved, and formats durations and sizes for
// people.
package amount

import (
	"fmt"
	"time"
)

// Duration formats d with a resolution that suits it: "240ms", "3.2s", "4m10s".
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second / 10).String()
	default:
		return d.Round(time.Second).String()
	}
}

// Clock formats d as minutes and seconds, and hours if it has any: "0:07", "1:02:03".
func Clock(d time.Duration) string {
	const minute = 60
	s := int(max(d, 0) / time.Second)
	if s < minute*minute {
		return fmt.Sprintf("%d:%02d", s/minute, s%minute)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/minute/minute, s/minute%minute, s%minute)
}

// Bytes formats n in the largest binary unit that gives at least 1: "512 B", "3.4 MiB".
func Bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/unit, "KMGT"
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}
