package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/bakestone-go/bakestone/bake"
)

// A Dir copies what is in a directory to the machine, with the modes it has.
// What else is in the directory on the machine stays.
type Dir struct {
	// Source is a directory on the baking host, or in FS if that is set. Empty
	// is the whole of FS.
	Source string
	FS     fs.FS

	// Dest is the absolute path of the directory on the machine that receives
	// the contents. It and the directories above it are made if missing.
	Dest string

	// Exclude leaves out what matches any of these patterns, as in
	// bake.Upload: ".git", "*.map", "test/**".
	Exclude []string

	// Owner and Group, names on the machine, are set on everything written.
	// Empty is the login, or root with Sudo.
	Owner string
	Group string

	// Sudo writes as root.
	Sudo bool
}

// String is "directory DEST".
func (d Dir) String() string { return "directory " + d.Dest }

// Validate reports all that keeps the directory from being copied.
func (d Dir) Validate() error {
	var source error
	switch {
	case d.Source != "":
		source = checkDir("Dir.Source", d.FS, d.Source)
	case d.FS == nil:
		source = bake.Invalid("Dir", "one of Source and FS must be set, or both")
	}
	return errors.Join(source, checkAbsolute("Dir.Dest", d.Dest, required), checkExclude("Dir.Exclude", d.Exclude))
}

// DeclareInputs declares everything that is copied and where it goes.
func (d Dir) DeclareInputs(in *bake.Inputs) error {
	if err := in.Tree("content", d.FS, d.Source, d.Exclude); err != nil {
		return err
	}
	in.Value("dest", d.Dest)
	declareOwner(in, 0, d.Owner, d.Group)
	in.Value("sudo", d.Sudo)
	return nil
}

// Provision copies the directory.
func (d Dir) Provision(ctx context.Context, m bake.Machine) error {
	if err := d.Validate(); err != nil {
		return err
	}
	up := &bake.Upload{Dest: d.Dest, Exclude: d.Exclude, Owner: d.Owner, Group: d.Group, Sudo: d.Sudo}
	switch {
	case d.FS == nil:
		up.Path = d.Source
	case d.Source == "":
		up.FS = d.FS
	default:
		sub, err := fs.Sub(d.FS, d.Source)
		if err != nil {
			return fmt.Errorf("open source: %w", err)
		}
		up.FS = sub
	}
	return m.Put(ctx, up)
}
