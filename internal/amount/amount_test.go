package amount_test

import (
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/amount"
)

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 240400 * time.Microsecond: "240ms", 3240 * time.Millisecond: "3.2s", 250*time.Second + 400*time.Millisecond: "4m10s",
	} {
		if got := amount.Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0:00", 7900 * time.Millisecond: "0:07", 3599 * time.Second: "59:59", 3723 * time.Second: "1:02:03",
	} {
		if got := amount.Clock(d); got != want {
			t.Errorf("Clock(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 3565158: "3.4 MiB", 5 << 50: "5120.0 TiB"} {
		if got := amount.Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestMoved(t *testing.T) {
	var moved amount.Moved
	for i, r := range []struct {
		path       string
		done, want int64
	}{{"a", 10, 10}, {"a", 25, 15}, {"b", 7, 7}, {"a", 25, 0}, {"a", 4, 4}, {"a", 9, 5}, {"b", 8, 1}} {
		if got := moved.Add(r.path, r.done); got != r.want {
			t.Errorf("report %d: Add(%q, %d) = %d, want %d", i, r.path, r.done, got, r.want)
		}
	}
}
