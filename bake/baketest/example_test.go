package baketest_test

import (
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake/baketest"
)

// The test of a platform: Conform calls the func for a new, empty platform for each of
// its tests. Within synctest.Test, what a fake in memory waits for takes no time.
func ExampleConform() {
	testBuilder := func(t *testing.T) {
		t.Helper()
		baketest.Conform(t, func(*testing.T) baketest.Platform {
			b := baketest.NewBuilder(nil) // yours, on a fake of its platform
			return baketest.Platform{Builder: b, Existing: b.Existing}
		}, &baketest.ConformOptions{Run: synctest.Test})
	}
	_ = testBuilder // in a test file: func TestBuilder(t *testing.T)
	// Output:
}
