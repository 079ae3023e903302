package boottime

import (
	"runtime"
	"testing"
	"time"
)

// TestSince takes the clock that shows most.
func TestSince(t *testing.T) {
	start := time.Now()
	wall := start.Round(0) // without the monotonic clock
	for name, test := range map[string]struct {
		then, now Moment
		want      time.Duration
	}{
		"monotonic clock":           {Moment{start, 5}, Moment{start.Add(time.Hour), 5}, time.Hour},
		"wall clock after sleep":    {Moment{wall, 0}, Moment{wall.Add(time.Minute), 0}, time.Minute},
		"wall clock was set back":   {Moment{wall, time.Minute}, Moment{wall.Add(-time.Hour), 3 * time.Minute}, 2 * time.Minute},
		"time of the system passed": {Moment{wall, 0}, Moment{wall, 7 * time.Second}, 7 * time.Second},
	} {
		if got := test.then.Since(test.now); got != test.want {
			t.Errorf("%s: Since() = %v, want %v", name, got, test.want)
		}
	}
	switch runtime.GOOS {
	case "linux", "darwin", "windows":
		if At(start).boot <= 0 {
			t.Errorf("At().boot = %v, want the time since the start of the system", At(start).boot)
		}
	}
}
