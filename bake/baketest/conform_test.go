package baketest_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake/baketest"
)

func TestBuilderConforms(t *testing.T) {
	baketest.Conform(t, func(*testing.T) baketest.Platform {
		b := baketest.NewBuilder(nil)
		return baketest.Platform{Builder: b, Existing: b.Existing}
	}, nil)
}
