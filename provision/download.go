package provision

import (
	"context"
	"errors"

	"github.com/bakestone-go/bakestone/bake"
)

// A Download copies a file or a directory from the machine to the baking host.
type Download struct {
	// Source is the path of the file or directory on the machine, absolute or in the
	// login's home: "~/app.log".
	Source string

	// Dest is the path on the baking host: of the file, or of the directory that
	// receives the contents of the directory Source. Missing parent directories
	// are created.
	Dest string

	// Exclude lists patterns of files in a directory not to copy, as in
	// [bake.Download].
	Exclude []string

	// Sudo reads as root.
	Sudo bool
}

var (
	_ bake.Provisioner   = Download{}
	_ bake.Validator     = Download{}
	_ bake.InputDeclarer = Download{}
)

// String returns "download SOURCE".
func (d Download) String() string { return "download " + d.Source }

// Validate reports invalid fields.
func (d Download) Validate() error {
	var dest error
	switch {
	case d.Dest == "":
		dest = bake.Invalid("Download.Dest", "is required")
	case inHome(d.Dest):
		dest = bake.Invalid("Download.Dest", "%q: the baking host's home is not expanded: use os.UserHomeDir", d.Dest)
	}
	return errors.Join(
		checkPath("Download.Source", d.Source, required), dest, checkExclude("Download.Exclude", d.Exclude), checkRedacted("Download", d),
	)
}

// DeclareInputs declares what is copied. Dest is not an input, since it does not
// change the image.
func (d Download) DeclareInputs(in *bake.Inputs) error {
	in.Value("source", d.Source)
	in.Value("exclude", d.Exclude)
	in.Value("sudo", d.Sudo)
	return nil
}

// Provision copies Source.
func (d Download) Provision(ctx context.Context, m bake.Machine) error {
	if err := d.Validate(); err != nil {
		return err
	}
	source, err := expandHome(ctx, m, d.Source)
	if err != nil {
		return err
	}
	err = m.Get(ctx, &bake.Download{Source: source, Path: d.Dest, Exclude: d.Exclude, Sudo: d.Sudo})
	return explainTransfer(ctx, m, err, "Download", d.Sudo)
}
