package sandbox

import "github.com/bakestone-go/bakestone/internal/memfs"

// NewRoot returns a fresh disk: what a minimal installation has before its
// first boot.
func NewRoot(o *RootOptions) *memfs.FS { return memfs.New(nil) }
