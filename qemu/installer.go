package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// An Installer is the source of an image that is installed on an empty disk: the
// installer of a distribution boots, answers its questions from a file, and ends by
// powering off or rebooting. Then the build goes on with the installed disk.
//
//	qemu.Installer{
//		Kernel: qemu.URL{URL: mirror + "/linux", SHA256: "…"},
//		Initrd: qemu.URL{URL: mirror + "/initrd.gz", SHA256: "…"},
//		Append: "auto=true priority=critical preseed/url={{.HTTP}}/preseed.cfg console=ttyS0",
//		Files:  os.DirFS("installer"), // with preseed.cfg
//	}
//
// An installer that starts from the kernel needs no keys typed. Kernel and Initrd can be
// files of the ISO image:
//
//	qemu.Installer{ // Ubuntu's autoinstall
//		ISO:    qemu.URL{…},
//		Kernel: qemu.InISO("casper/vmlinuz"),
//		Initrd: qemu.InISO("casper/initrd"),
//		Append: "autoinstall console=ttyS0 ---",
//		Files:  os.DirFS("installer"), // with user-data and meta-data
//		Label:  "cidata",
//	}
//
// A kickstart is given by inst.ks={{.HTTP}}/ks.cfg or with the Label OEMDRV, Ignition by
// ignition.config.url={{.HTTP}}/config.ign. Without a Kernel the machine boots the ISO
// image, and Keys type what the boot loader must be told.
//
// The installed system needs an SSH server and, as every source, cloud-init or the keys
// of Builder.SSH: have the installer install both. Installing takes minutes to hours, so
// give images an Installer of their own and bake others From them. With a
// bake.Image.Fingerprint the installation is repeated only if the files of the installer
// change.
type Installer struct {
	// Kernel and Initrd are booted directly, without a boot loader. Kernel is
	// required unless ISO is set.
	Kernel InstallFile
	Initrd InstallFile

	// Append is the kernel's command line, a template of package text/template:
	// {{.HTTP}} is the URL of Files, without a slash at its end. It may be empty.
	Append string

	// ISO is a CD or DVD image. If Kernel is nil, the machine boots it as long as
	// nothing on the disk can be booted.
	ISO InstallFile

	// Files are what the installer reads: answers, scripts, packages. They are served
	// by HTTP on the baking host's loopback, which the guest alone reaches by the URL
	// {{.HTTP}}: it has a random part. A file NAME.tmpl is a template like Append and
	// is served as NAME. If nil, nothing is served.
	Files fs.FS

	// Label puts Files on a medium with this label as well, for installers that look for
	// their answers there: "cidata" for autoinstall, "OEMDRV" for kickstart. Files
	// must be in one directory then. Empty means no medium.
	Label string

	// Keys are typed, in this order, after the machine has started.
	Keys []Keys

	// Timeout limits the installation. Zero means one hour.
	Timeout time.Duration

	// StallTimeout limits the time without any access to disk, ISO and Files: such an
	// installer hangs or waits for an answer. Zero means ten minutes.
	StallTimeout time.Duration
}

const (
	defaultInstallTimeout = time.Hour
	defaultStallTimeout   = 10 * time.Minute

	installFormat = "installer" // SourceDisk.Format of an installer
)

var (
	_ Source             = Installer{}
	_ bake.InputDeclarer = Installer{}
)

// String returns the file that the installer boots.
func (i Installer) String() string {
	boots := i.ISO
	if boots == nil {
		boots = i.Kernel
	}
	if boots == nil {
		return "installer"
	}
	return "installer " + boots.String()
}

// Validate reports missing and contradicting fields, invalid templates and unreadable
// files.
func (i Installer) Validate() error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Installer."+field, format, args...))
	}
	if i.Kernel == nil && i.ISO == nil {
		invalid("Kernel", "is required unless ISO is set")
	}
	for _, f := range i.files() {
		if err := bake.ValidateValue(f.file); err != nil {
			invalid(f.field, "%w", err)
		} else if _, within := f.file.inISO(); within && (i.ISO == nil || f.field == "ISO") {
			invalid(f.field, "is a file of Installer.ISO, which is not set")
		}
	}
	if i.Kernel == nil && (i.Initrd != nil || i.Append != "") {
		invalid("Kernel", "is required by Initrd and Append")
	}
	if i.Timeout < 0 || i.StallTimeout < 0 {
		invalid("Timeout", "must not be negative, and StallTimeout neither")
	}
	if i.Label != "" && i.Files == nil {
		invalid("Files", "is required by Label")
	}
	if i.Files == nil && strings.Contains(i.Append, ".HTTP") {
		invalid("Files", "is required by {{.HTTP}} in Append")
	}
	for at, k := range i.Keys {
		if err := k.validate(); err != nil {
			invalid(fmt.Sprintf("Keys[%d]", at), "%w", err)
		}
	}
	if _, err := i.render(exampleAnswers()); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, redacted.Check("Installer", i, "the installed system would contain it", bake.Invalid))...)
}

// A fieldFile is a file in a field of Installer.
type fieldFile struct {
	field string
	file  InstallFile
}

// files returns the files that the machine boots.
func (i Installer) files() []fieldFile {
	var all []fieldFile
	for _, f := range []fieldFile{{"ISO", i.ISO}, {"Kernel", i.Kernel}, {"Initrd", i.Initrd}} {
		if f.file != nil {
			all = append(all, f)
		}
	}
	return all
}

// DeclareInputs declares the files and everything that the installer is told.
func (i Installer) DeclareInputs(in *bake.Inputs) error {
	for _, f := range i.files() {
		in.Fields(f.field, f.file)
	}
	in.Value("append", i.Append)
	in.Value("label", i.Label)
	in.Fields("keys", i.Keys)
	if i.Files == nil {
		return nil
	}
	return in.Tree("files", i.Files, ".", nil)
}

// installer returns the Installer.
func (i Installer) installer() *Installer { return &i }

// find returns a description of the installer, whose digest covers all that it boots and
// is told.
func (i Installer) find(ctx context.Context, h *Host, run *bake.Run) (SourceDisk, error) {
	found, err := i.locate(ctx, h, run)
	return found.Source, err
}

// An installation is an Installer with its files on the baking host. It is part of the
// record.
type installation struct {
	Source SourceDisk `json:"-"`
	Kernel string     `json:"kernel,omitempty"`
	Initrd string     `json:"initrd,omitempty"`
	ISO    string     `json:"iso,omitempty"`
}

// locate finds or downloads the files.
func (i Installer) locate(ctx context.Context, h *Host, run *bake.Run) (*installation, error) {
	var in bake.Inputs
	if err := i.DeclareInputs(&in); err != nil {
		return &installation{}, err
	}
	found := &installation{}
	for _, f := range i.files() {
		path, digest, err := "", "", error(nil)
		if name, within := f.file.inISO(); within {
			path, digest, err = h.extract(ctx, found.ISO, name)
		} else {
			path, digest, err = f.file.locate(ctx, h, run)
		}
		if err != nil {
			return &installation{}, bake.Invalid("Installer."+f.field, "%w", err)
		}
		in.Value(f.field+" digest", digest)
		switch f.field {
		case "ISO":
			found.ISO = path
		case "Kernel":
			found.Kernel = path
		case "Initrd":
			found.Initrd = path
		}
	}
	found.Source = SourceDisk{Path: found.Kernel, Format: installFormat, SHA256: in.Sum()}
	if found.ISO != "" {
		found.Source.Path = found.ISO
	}
	return found, nil
}
