package usage

import (
	"cmp"
	"slices"
	"testing"
)

// Median returns the middle one of values, of which there must be one, and the greater of
// two.
func Median[T cmp.Ordered](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// A Series has what each run of a benchmark took, by unit, for testing.B's ReportMetric.
type Series map[string][]float64

// Add adds a run.
func (s Series) Add(unit string, value float64) { s[unit] = append(s[unit], value) }

// Report reports the medians instead of the time of b's loop.
func (s Series) Report(b *testing.B) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	for unit, values := range s {
		b.ReportMetric(Median(values), unit)
	}
}
