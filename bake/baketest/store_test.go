package baketest_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

func TestMemoryStoreConforms(t *testing.T) {
	baketest.ConformStore(t, func(*testing.T) func() bake.Store {
		store := bake.MemoryStore()
		return func() bake.Store { return store }
	})
}

func TestDirStoreConforms(t *testing.T) {
	baketest.ConformStore(t, func(t *testing.T) func() bake.Store {
		dir := t.TempDir()
		return func() bake.Store { return bake.DirStore(dir) }
	})
}
