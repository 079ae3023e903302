package baketest_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake/baketest"
)

// The test of a platform: Conform calls the func for a new, empty platform for each of
// its tests.
func ExampleConform() {
	testBuilder := func(t *testing.T) {
		t.Helper()
		baketest.Conform(t, func(*testing.T) baketest.Platform {
			b := baketest.NewBuilder(nil) // yours, on a fake of its platform
			return baketest.Platform{Builder: b, Existing: b.Existing}
		})
	}
	_ = testBuilder // in a test file: func TestBuilder(t *testing.T)
	// Output:
}
