package bake_test

import (
	"path/filepath"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// TestDirStoreOnFullDisk and TestDirStoreOnReadOnlyDisk bake with records on a real disk.
func TestDirStoreOnFullDisk(t *testing.T) {
	t.Parallel()
	disk := testenv.NewDisk(t, "256k")
	open := func() bake.Store { return bake.DirStore(filepath.Join(disk.Dir, "records")) }
	baketest.ConformFailingStore(t, open, nil, func(t *testing.T) { disk.Fill(t) }, func(t *testing.T) { disk.Empty(t) })
}

func TestDirStoreOnReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := testenv.NewDisk(t, "256k")
	open := func() bake.Store { return bake.DirStore(filepath.Join(disk.Dir, "records")) }
	baketest.ConformFailingStore(t, open, nil, func(t *testing.T) { disk.Protect(t, true) }, func(t *testing.T) { disk.Protect(t, false) })
}
