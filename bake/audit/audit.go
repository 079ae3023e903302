package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/ext4"
	"github.com/bakestone-go/bakestone/internal/partition"
)

// A Kind is what is wrong with a file.
type Kind string

// The kinds of findings.
const (
	AuthorizedKeys Kind = "authorized keys"        // somebody can log in to each machine of the image
	HostKey        Kind = "SSH host key"           // all machines have the same
	MachineID      Kind = "machine id"             // all machines have the same
	CloudState     Kind = "cloud-init state"       // it may take a machine for one that has booted before
	History        Kind = "history of commands"    // it may have secrets
	PrivateKey     Kind = "private key"            // by its beginning
	Credential     Kind = "credential"             // by its form
	Password       Kind = "password"               // a hash in /etc/shadow
	WorldWritable  Kind = "world-writable file"    // of the system
	Unclean        Kind = "unclean file system"    // changes in its journal are not seen
	Unreadable     Kind = "unreadable file system" // or a damaged part of it
)

// Kinds lists all kinds.
func Kinds() []Kind {
	return []Kind{AuthorizedKeys, HostKey, MachineID, CloudState, History, PrivateKey, Credential, Password, WorldWritable, Unclean, Unreadable}
}

// A Finding is a file that an image should not have.
type Finding struct {
	Kind Kind   `json:"kind"`
	Disk string `json:"disk,omitempty"` // the name of a further disk
	Part int    `json:"part,omitempty"` // the number of the partition
	Path string `json:"path,omitempty"` // in its file system
	Text string `json:"text,omitempty"` // more, without secrets
}

// String returns the kind, the path and the text.
func (f Finding) String() string {
	at := f.Path
	if at == "" {
		at = fmt.Sprintf("partition %d", f.Part)
	}
	if f.Disk != "" {
		at = f.Disk + ":" + at
	}
	text := string(f.Kind) + ": " + at
	if f.Text != "" {
		text += " (" + f.Text + ")"
	}
	return text
}

// Options configure an audit. The zero value looks for everything.
type Options struct {
	// Allow lists kinds that are not reported.
	Allow []Kind

	// AllowPaths lists files, by patterns of path/filepath, that are not reported:
	// "/home/*/.ssh/authorized_keys".
	AllowPaths []string

	// MostFindings limits the findings. Zero means 1,000.
	MostFindings int

	// MostFiles limits the files and directories that are looked at, on all disks. Zero
	// means five million.
	MostFiles int
}

const (
	defaultFindings = 1000
	defaultFiles    = 5_000_000
)

// ErrFound is returned, wrapped, by a check that found something.
var ErrFound = errors.New("the image carries what it must not")

// A Disks is a bake.Check, and a bake.ArtifactChecker: it fails if the artifact's disks have
// something that an image must not carry. The artifact must be a bake.DiskReader, as AMIs
// and QEMU's disks are.
type Disks struct {
	Options
}

var (
	_ bake.Check           = Disks{}
	_ bake.ArtifactChecker = Disks{}
	_ bake.Validator       = Disks{}
)

// String returns "audit of the disks".
func (d Disks) String() string { return "audit of the disks" }

// Validate reports unknown kinds and invalid patterns.
func (d Disks) Validate() error { return d.validate() }

// Check returns an error: the check reads artifacts, which Bake passes to CheckArtifact.
func (d Disks) Check(context.Context, bake.Machine) error {
	return errors.New("an audit reads an artifact, not a machine")
}

// CheckArtifact reports findings as an error that wraps ErrFound.
func (d Disks) CheckArtifact(ctx context.Context, a bake.Artifact) error {
	from, ok := bake.As[bake.DiskReader](a)
	if !ok {
		return &bake.PermanentError{Err: fmt.Errorf("%s has no disks that can be read", a)}
	}
	var found []Finding
	err := from.ReadDisks(ctx, func(disks bake.SystemDisks) (err error) {
		found, err = Report(ctx, disks, &d.Options)
		return err
	})
	if err != nil || len(found) == 0 {
		return err
	}
	const shown = 20
	text := make([]string, 0, shown+1)
	for _, f := range found[:min(len(found), shown)] {
		text = append(text, f.String())
	}
	if more := len(found) - shown; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return &bake.PermanentError{Err: fmt.Errorf("%w: %s", ErrFound, strings.Join(text, "; "))}
}

func (o *Options) validate() error {
	var errs []error
	for _, k := range o.Allow {
		if !slices.Contains(Kinds(), k) {
			errs = append(errs, bake.Invalid("Options.Allow", "unknown kind %q", k))
		}
	}
	for _, p := range o.AllowPaths {
		if err := checkPattern(p); err != nil {
			errs = append(errs, bake.Invalid("Options.AllowPaths", "%q: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// Report returns what the disks have that an image must not carry, in the order of the
// disks and paths. If o is nil, the zero Options are used.
func Report(ctx context.Context, disks bake.SystemDisks, o *Options) ([]Finding, error) {
	if o == nil {
		o = &Options{}
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	a := &auditor{options: *o, patterns: newPatterns()}
	if a.options.MostFindings == 0 {
		a.options.MostFindings = defaultFindings
	}
	if a.options.MostFiles == 0 {
		a.options.MostFiles = defaultFiles
	}
	for _, disk := range disks.Disks {
		if err := a.disk(ctx, disk); err != nil && !errors.Is(err, errEnough) {
			return a.found, err
		}
	}
	return a.found, nil
}

// errEnough ends an audit with MostFindings.
var errEnough = errors.New("enough findings")

// auditor is an audit at work.
type auditor struct {
	options Options
	found   []Finding
	files   int

	patterns []pattern

	at Finding // the disk and partition at work
}

func (a *auditor) add(kind Kind, path, format string, args ...any) error {
	if slices.Contains(a.options.Allow, kind) || a.allows(path) {
		return nil
	}
	f := a.at
	f.Kind, f.Path, f.Text = kind, path, fmt.Sprintf(format, args...)
	a.found = append(a.found, f)
	if len(a.found) >= a.options.MostFindings {
		return errEnough
	}
	return nil
}

// disk audits the file systems of a disk.
func (a *auditor) disk(ctx context.Context, disk bake.Disk) error {
	table, err := partition.Read(disk, disk.Size())
	if err != nil {
		a.at = Finding{Disk: disk.Name}
		return a.add(Unreadable, "", "%v", err)
	}
	parts := table.Partitions
	if len(parts) == 0 {
		parts = []partition.Partition{{Size: disk.Size()}}
	}
	for _, p := range parts {
		a.at = Finding{Disk: disk.Name, Part: p.Number}
		if err := a.part(ctx, p, io.NewSectionReader(disk, p.Start, p.Size)); err != nil {
			return err
		}
	}
	return nil
}

func (a *auditor) part(ctx context.Context, p partition.Partition, at io.ReaderAt) error {
	if !ext4.IsExt4(at) {
		kind, known := otherFileSystem(at, p.Size)
		if !known || p.ESP || p.BIOSBoot {
			return nil
		}
		return a.add(Unreadable, "", "%s: audit a machine of the image instead", kind)
	}
	files, err := ext4.Open(at, p.Size)
	if err != nil {
		return a.add(Unreadable, "", "ext4: %v", err)
	}
	if files.Unclean {
		if err := a.add(Unclean, "", "the disk was copied while it was in use"); err != nil {
			return err
		}
	}
	return a.walk(ctx, files)
}

// otherFileSystem names a file system that is not read.
func otherFileSystem(at io.ReaderAt, size int64) (name string, known bool) {
	const btrfsAt, lvmAt = 0x10040, 0x200
	for _, other := range []struct {
		off   int64
		magic string
		name  string
	}{
		{0, "XFSB", "XFS"}, {btrfsAt, "_BHRfS_M", "Btrfs"}, {0, "LUKS\xba\xbe", "LUKS"}, {lvmAt, "LABELONE", "LVM"}, {0, "hsqs", "SquashFS"},
	} {
		b := make([]byte, len(other.magic))
		if n, _ := at.ReadAt(b, other.off); other.off < size && n == len(b) && string(b) == other.magic {
			return other.name, true
		}
	}
	return "", false
}
