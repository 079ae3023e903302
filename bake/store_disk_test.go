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
	disk := testenv.NewDisk(t, "size=4m")
	open := func() bake.Store { return bake.DirStore(filepath.Join(disk.Dir, "records")) }
	baketest.ConformFailingStore(t, open, nil, disk.Fill, disk.Empty)
}

func TestDirStoreOnReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := testenv.NewDisk(t, "size=4m")
	open := func() bake.Store { return bake.DirStore(filepath.Join(disk.Dir, "records")) }
	baketest.ConformFailingStore(t, open, nil, disk.Protect, disk.Unprotect)
}
