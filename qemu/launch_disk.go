package qemu

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/internal/guest"
	"github.com/bakestone-go/bakestone/internal/visible"
	"github.com/bakestone-go/bakestone/qemu/internal/iso9660"
)

// findSource finds the disk to start from, and what the machine takes from it.
func (s *session) findSource(ctx context.Context) error {
	b := s.builder
	if _, err := b.Host.program("qemu-img"); err != nil {
		return err
	}
	var err error
	if i := s.installer(); i != nil {
		var found *installation
		found, err = i.locate(ctx, b.Host, s.run)
		s.Install, s.Source = *found, found.Source
		s.Source.Size = cmp.Or(b.DiskSize, defaultDiskSize)
	} else if s.run.Source == nil {
		s.Source, err = b.Source.find(ctx, b.Host, s.run)
	} else {
		var d *Disk
		if d, err = DiskOf(s.run.Source); err == nil {
			s.Source, err = d.source(ctx, b.Host, s.run)
		}
	}
	if err != nil {
		return err
	}
	s.Machine.Arch = cmp.Or(b.Arch, s.Source.Arch, x86)
	s.Machine.Login = cmp.Or(b.SSH.User, s.Source.Login, rootLogin)
	if _, err := b.Host.program(s.system()); err != nil {
		return err
	}
	if err := s.findFirmware(); err != nil {
		return err
	}
	if b.TPM {
		if _, err := b.Host.program("swtpm"); err != nil {
			return err
		}
	}
	if b.DiskSize != 0 && b.DiskSize < s.Source.Size && !s.run.Checks {
		return bake.Invalid("Builder.DiskSize", "is %d bytes, but the source %s has %d", b.DiskSize, s.Source.Path, s.Source.Size)
	}
	if s.Machine.Disks, err = s.machineDisks(); err != nil {
		return err
	}
	s.run.Say("source: %s (%s, %d MiB)", cmp.Or(s.Source.ID, s.Source.Path), s.Source.Format, s.Source.Size>>20)
	return nil
}

// system returns the name of the program that runs the machine.
func (s *session) system() string { return "qemu-system-" + s.Machine.Arch }

// createDisk creates the machine's directory: its disks, and the seed.
func (s *session) createDisk(ctx context.Context) error {
	if err := s.kill(ctx); err != nil { // a repeated step
		return err
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(s.dir()); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir(), privateDir); err != nil {
		return err
	}
	if err := s.writeRunFile(); err != nil {
		return err
	}
	if err := s.createLayers(ctx); err != nil {
		return err
	}
	s.Machine.Fresh = true
	return s.writeSeed()
}

// createLayers creates the files of the disks and of the variable store. The first disk is
// empty if the source is an Installer.
func (s *session) createLayers(ctx context.Context) error {
	for _, d := range s.Machine.Disks {
		if err := s.createLayer(ctx, d); err != nil {
			return err
		}
	}
	return s.writeVars()
}

// A runFile tells other processes about the machine in the file's directory.
type runFile struct {
	Image   string    `json:"image"`
	Mark    string    `json:"mark"`
	Login   string    `json:"login"`
	Expires time.Time `json:"expires"`
}

func (s *session) writeRunFile() error {
	data, err := json.Marshal(runFile{s.run.Image, s.Machine.Mark, s.Machine.Login, s.run.Expires})
	if err != nil {
		return err
	}
	return atomicfile.Write(s.path(runName), data, privateFile)
}

// writeSeed writes the NoCloud seed.
func (s *session) writeSeed() error {
	userData, err := guest.UserData{
		User: s.builder.UserData, Keys: s.Keys, RootLogin: s.Machine.Login == rootLogin,
		Expires: s.run.Expires, Boundary: s.run.ID,
	}.Document()
	if err != nil {
		return bake.Invalid("Builder.UserData", "%w", err)
	}
	seed, err := iso9660.Write("cidata", s.run.Clock.Now(),
		iso9660.File{Name: "user-data", Content: []byte(userData)},
		iso9660.File{Name: "meta-data", Content: fmt.Appendf(nil, "instance-id: %s\n", s.run.ID)},
	)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.path(seedName), seed, privateFile)
}

// removeDisk removes the machine's directory.
func (s *session) removeDisk(ctx context.Context, _ bake.Outcome) error {
	if _, err := os.Lstat(s.dir()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(s.dir()); err != nil {
		return err
	}
	s.run.Removed("disk", s.path(diskName))
	return nil
}

// consoleTail returns the last lines that the guest printed to its serial console.
func (s *session) consoleTail() []string { return s.tail(consoleName) }

// tail returns the last lines of a file in the machine's directory.
func (s *session) tail(name string) []string {
	const mostRead, mostLines, longest = 16 << 10, 40, 300
	f, err := os.Open(s.path(name))
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	at := max(0, info.Size()-mostRead)
	text := make([]byte, info.Size()-at)
	n, _ := f.ReadAt(text, at) // what there is
	var lines []string
	for line := range strings.Lines(s.run.Redact(strings.ReplaceAll(string(text[:n]), "\r", ""))) {
		if line = strings.TrimRight(line, "\n"); strings.TrimSpace(line) != "" {
			lines = append(lines, visible.Shorten(line, longest))
		}
	}
	if at > 0 && len(lines) > 0 {
		lines = lines[1:] // it may have begun earlier
	}
	return lines[max(0, len(lines)-mostLines):]
}
