package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
)

// artifactName is the file that makes an image visible.
const artifactName = "artifact.json"

// A Disk is the artifact of a build: a standalone qcow2 file, and one for each of the
// machine's further disks.
type Disk struct {
	Image       string            `json:"image"`     // the image's name
	Build       string            `json:"build"`     // the build id
	Path        string            `json:"path"`      // of the file
	Format      string            `json:"format"`    // "qcow2"
	Size        int64             `json:"size"`      // of the disk, in bytes
	FileSize    int64             `json:"file_size"` // of the file, in bytes
	SHA256      string            `json:"sha256"`    // of the file
	Arch        string            `json:"arch"`      // "x86_64" or "aarch64"
	Firmware    FirmwareType      `json:"firmware,omitempty"`
	Vars        string            `json:"vars,omitempty"` // UEFI's variable store, with Firmware.KeepVars
	Login       string            `json:"login"`          // the user that the build logged in as
	Created     time.Time         `json:"created"`
	Fingerprint string            `json:"fingerprint,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Source      SourceDisk        `json:"source"`
	Data        []DataFile        `json:"data,omitempty"` // the further disks

	host *Host
}

var (
	_ bake.Artifact = (*Disk)(nil)
	_ diskArtifact  = (*Disk)(nil)
)

// A diskArtifact is a Disk or a struct that embeds one.
type diskArtifact interface {
	disk() *Disk
}

func (d *Disk) disk() *Disk { return d }

// DiskOf returns the Disk that an artifact is or wraps. It returns an error if a is nil
// or an artifact of another platform.
func DiskOf(a bake.Artifact) (*Disk, error) {
	with, ok := bake.As[diskArtifact](a)
	switch {
	case a == nil:
		return nil, errors.New("no artifact")
	case !ok:
		return nil, fmt.Errorf("%v is not a disk of this package", a)
	}
	return with.disk(), nil
}

// ID returns the image's name and the build id: "web/20261129t150405-abcdefgh".
func (d *Disk) ID() string { return d.Image + "/" + d.Build }

// IDs returns the id by the directory of the Host.
func (d *Disk) IDs() map[string]string { return map[string]string{d.host.Dir(): d.ID()} }

// String returns the path of the file.
func (d *Disk) String() string { return d.Path }

// MarshalJSON encodes the id and the fields, with names in snake_case.
func (d *Disk) MarshalJSON() ([]byte, error) {
	type fields Disk
	return json.Marshal(struct {
		ID string `json:"id"`
		*fields
	}{d.ID(), (*fields)(d)})
}

// Destroy removes the image's directory with everything in it.
func (d *Disk) Destroy(context.Context) error {
	return removeImage(filepath.Dir(d.Path), nil)
}

// Artifact returns the image; nil before it exists.
func (s *session) Artifact() bake.Artifact {
	if !s.Image.Captured {
		return nil
	}
	return s.disk()
}

func (s *session) disk() *Disk {
	d := &Disk{
		Image: s.run.Image, Build: s.run.ID, Path: filepath.Join(s.imageDir(), diskName), Format: "qcow2",
		Size: s.Image.Size, FileSize: s.Image.FileSize, SHA256: s.Image.SHA256, Arch: s.Machine.Arch, Login: s.Machine.Login,
		Created: s.Image.Created, Fingerprint: s.run.Fingerprint, Tags: s.builder.tags(s.run), Source: s.Source,
		Firmware: s.Machine.Firmware.Type, Data: s.Image.Data, host: s.builder.Host,
	}
	if s.keepsVars() {
		d.Vars = filepath.Join(s.imageDir(), varsName)
	}
	return d
}

// publishImage makes the image visible to NewestImage and Find.
func (s *session) publishImage(ctx context.Context) error {
	data, err := json.MarshalIndent(s.disk(), "", "\t")
	if err != nil {
		return err
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.imageDir(), artifactName), append(data, '\n'), privateFile)
}

// Find returns the newest good image of img that has the run's fingerprint and was baked
// from the disk that Source finds now.
func (b Builder) Find(ctx context.Context, img *bake.Image, run *bake.Run) (bake.Artifact, error) {
	var source SourceDisk
	if run.Source == nil && b.Source != nil { // the fingerprint covers Image.From
		var err error
		if source, err = b.Source.find(ctx, b.Host, run); err != nil {
			return nil, err
		}
	}
	d, err := b.Host.newest(img.Name, func(d *Disk) bool {
		return d.Fingerprint == run.Fingerprint && (source.SHA256 == "" || d.Source.same(source))
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Newest returns the newest good image with a name, for example to write further outputs
// of it. The error wraps bake.ErrNoArtifact if there is none.
func (h *Host) Newest(image string) (*Disk, error) {
	if h.err != nil {
		return nil, h.err
	}
	if err := NewestImage(image).Validate(); err != nil {
		return nil, err
	}
	return h.newest(image, func(*Disk) bool { return true })
}

// newest returns the newest good image with a name among those that match, or
// bake.ErrNoArtifact.
func (h *Host) newest(name string, matches func(*Disk) bool) (*Disk, error) {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Join(h.imagesDir(), name)), "*", artifactName))
	if err != nil {
		return nil, err
	}
	var newest *Disk
	for _, path := range paths {
		d, err := h.readDisk(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has just been removed
		}
		if err != nil {
			return nil, err
		}
		if matches(d) && (newest == nil || d.Created.After(newest.Created)) {
			newest = d
		}
	}
	if newest == nil {
		return nil, bake.ErrNoArtifact
	}
	return newest, nil
}

// escapeGlob returns a pattern that matches path alone.
func escapeGlob(path string) string {
	var b []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' {
			b = append(b, '[', c, ']')
			continue
		}
		b = append(b, c)
	}
	return string(b)
}

// readDisk reads the record of an image. The file of the disk must be beside it, with
// the recorded size.
func (h *Host) readDisk(path string) (*Disk, error) {
	data, err := os.ReadFile(path) //nolint:gosec // below Host's directory
	if err != nil {
		return nil, err
	}
	d := &Disk{}
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d.host, d.Path = h, filepath.Join(filepath.Dir(path), diskName) // the directory may have moved
	if d.Vars != "" {
		d.Vars = filepath.Join(filepath.Dir(path), varsName)
	}
	for i := range d.Data {
		d.Data[i].Path = filepath.Join(filepath.Dir(path), filepath.Base(d.Data[i].Path))
	}
	for _, f := range d.files() {
		info, err := os.Stat(f.Path)
		if err != nil {
			return nil, err
		}
		if info.Size() != f.FileSize {
			return nil, fmt.Errorf("%s has %d bytes, but %d according to %s: it was changed or cut", f.Path, info.Size(), f.FileSize, path)
		}
	}
	return d, nil
}

// files returns the files of all disks, first that of the one that boots.
func (d *Disk) files() []DataFile {
	first := DataFile{Path: d.Path, Size: d.Size, FileSize: d.FileSize, SHA256: d.SHA256}
	return append([]DataFile{first}, d.Data...)
}
