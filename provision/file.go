package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// A File copies one file to the machine. Exactly one of Source and Content must
// be set.
type File struct {
	// Source is a file on the baking host, or in FS if that is set.
	Source string
	FS     fs.FS

	// Content is the text of the file.
	Content string

	// Dest is the path of the file on the machine, absolute or in the login's home:
	// "~/.profile". Missing parent directories are created.
	Dest string

	// Mode is the permission bits. Zero means those of Source, which are 0444 in
	// an embed.FS, and 0644 for Content.
	Mode fs.FileMode

	// Owner and Group are names on the machine. If empty, they are those of the
	// login, or root with Sudo.
	Owner string
	Group string

	// Sudo writes the file as root.
	Sudo bool
}

var (
	_ bake.Provisioner   = File{}
	_ bake.Validator     = File{}
	_ bake.InputDeclarer = File{}
)

// String returns "file DEST".
func (f File) String() string { return "file " + f.Dest }

// Validate reports invalid fields and a file that cannot be read.
func (f File) Validate() error {
	var source error
	switch {
	case !exactlyOne(f.Source != "", f.Content != ""):
		source = bake.Invalid("File", "exactly one of Source and Content must be set")
	case f.Source != "":
		source = checkFile("File.Source", f.FS, f.Source)
	case f.FS != nil:
		source = bake.Invalid("File.FS", "requires Source, the file in it")
	}
	return errors.Join(source, checkFilePath("File.Dest", f.Dest), checkMode("File.Mode", f.Mode), checkOwner("File", f.Owner, f.Group), checkRedacted("File", f))
}

// DeclareInputs declares the file's content, destination, mode and owner.
func (f File) DeclareInputs(in *bake.Inputs) error {
	if f.Source == "" {
		in.Content("content", []byte(f.Content))
	} else if err := in.File("content", f.FS, f.Source); err != nil {
		return err
	}
	in.Value("dest", f.Dest)
	declareOwner(in, f.Mode, f.Owner, f.Group)
	in.Value("sudo", f.Sudo)
	return nil
}

// Provision copies the file.
func (f File) Provision(ctx context.Context, m bake.Machine) error {
	if err := f.Validate(); err != nil {
		return err
	}
	dest, err := expandHome(ctx, m, f.Dest)
	if err != nil {
		return err
	}
	up := &bake.Upload{Dest: dest, Mode: f.Mode, Owner: f.Owner, Group: f.Group, Sudo: f.Sudo}
	switch {
	case f.Content != "":
		up.Content, up.Size = strings.NewReader(f.Content), int64(len(f.Content))
	case f.FS == nil:
		up.Path = f.Source
	default:
		file, err := f.FS.Open(f.Source)
		if err != nil {
			return fmt.Errorf("open source: %w", err)
		}
		defer file.Close() //nolint:errcheck // only read
		info, err := file.Stat()
		if err != nil {
			return fmt.Errorf("open source: %w", err)
		}
		up.Content, up.Size = file, info.Size()
		if up.Mode == 0 {
			up.Mode = info.Mode() & posixsh.ModeBits
		}
	}
	return explainTransfer(ctx, m, m.Put(ctx, up), "File", f.Sudo)
}
