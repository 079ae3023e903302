package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/bakestone-go/bakestone/bake"
)

// A Dir copies the contents of a directory to the machine, with their modes.
// Files that are there already with the same content, mode and owner are left
// untouched. Other files in the directory on the machine are kept, unless Delete is set.
type Dir struct {
	// Source is a directory on the baking host, or in FS if that is set. If empty,
	// all of FS is copied.
	Source string
	FS     fs.FS

	// Dest is the path of the directory on the machine that receives the contents,
	// absolute or in the login's home: "~/app". It is created if missing, with its
	// parent directories.
	Dest string

	// Exclude lists patterns of files not to copy, as in [bake.Upload]: ".git",
	// "*.map", "test/**".
	Exclude []string

	// Delete removes from Dest what Source does not have, except what Exclude
	// matches.
	Delete bool

	// Owner and Group are names on the machine, which everything copied belongs
	// to. If empty, they are those of the login, or root with Sudo.
	Owner string
	Group string

	// Sudo writes the files as root.
	Sudo bool
}

var (
	_ bake.Provisioner   = Dir{}
	_ bake.Validator     = Dir{}
	_ bake.InputDeclarer = Dir{}
)

// String returns "directory DEST".
func (d Dir) String() string { return "directory " + d.Dest }

// Validate reports invalid fields and a missing directory.
func (d Dir) Validate() error {
	var source error
	switch {
	case d.Source != "":
		source = checkDir("Dir.Source", d.FS, d.Source)
	case d.FS == nil:
		source = bake.Invalid("Dir", "at least one of Source and FS must be set")
	}
	return errors.Join(source, checkPath("Dir.Dest", d.Dest, required), checkExclude("Dir.Exclude", d.Exclude), checkOwner("Dir", d.Owner, d.Group), checkRedacted("Dir", d))
}

// DeclareInputs declares the copied files, their destination and owner.
func (d Dir) DeclareInputs(in *bake.Inputs) error {
	if err := in.Tree("content", d.FS, d.Source, d.Exclude); err != nil {
		return err
	}
	in.Value("dest", d.Dest)
	declareOwner(in, 0, d.Owner, d.Group)
	in.Value("sudo", d.Sudo)
	if d.Delete {
		in.Value("delete", true)
	}
	return nil
}

// Provision copies the directory.
func (d Dir) Provision(ctx context.Context, m bake.Machine) error {
	if err := d.Validate(); err != nil {
		return err
	}
	dest, err := expandHome(ctx, m, d.Dest)
	if err != nil {
		return err
	}
	up := &bake.Upload{Dest: dest, Exclude: d.Exclude, Delete: d.Delete, Owner: d.Owner, Group: d.Group, Sudo: d.Sudo}
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
	return explainTransfer(ctx, m, m.Put(ctx, up), "Dir", d.Sudo)
}
