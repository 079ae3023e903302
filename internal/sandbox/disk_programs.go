package sandbox

import (
	_ "embed" // for the table of programs
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

//go:embed data/programs.txt
var programTable string

// A distributionPackage is a package that an image comes with.
type distributionPackage struct {
	name  string
	files map[string]string // the target of a link, or "" for a program
}

// distributionPackages returns the packages of the images with programs. Families
// without a table have none: their commands need no files.
func (f Facts) distributionPackages() []distributionPackage {
	kinds := []string{"debian", f.Distro}
	switch f.family() {
	case familyRedHat:
		kinds = []string{"redhat", f.Distro}
		if f.Distro != "amzn" {
			kinds = append(kinds, "rhel")
		}
	case familyDebian:
	default:
		return nil
	}
	var all []distributionPackage
	for line := range strings.Lines(programTable) {
		head, programs, _ := strings.Cut(line, ":")
		kind, name, ok := strings.Cut(head, " ")
		if !ok || kind == "#" || !slices.Contains(kinds, kind) {
			continue
		}
		pkg := distributionPackage{name, map[string]string{}}
		dir := "/usr/bin/"
		for word := range strings.FieldsSeq(programs) {
			if word == "|" {
				dir = "/usr/sbin/"
				continue
			}
			program, target, _ := strings.Cut(word, "=")
			pkg.files[dir+program] = target
		}
		all = append(all, pkg)
	}
	return all
}

// programMark begins the files of programs, of which the name follows: they are
// binaries for every tool that looks, and loading one runs the command in Go.
const programMark = "\x7fELF\x02\x01\x01\x00 simulated program "

// programNamed returns the name of the program whose file begins with head.
func programNamed(head []byte) (string, bool) {
	rest, ok := strings.CutPrefix(string(head), programMark)
	name, _, _ := strings.Cut(rest, "\n")
	return name, ok
}

// isProgram reports whether a file is a program of the distribution.
func isProgram(disk *memfs.FS, name string) bool {
	data, err := disk.ReadFile(name)
	_, ok := programNamed(data)
	return err == nil && ok
}

// programs writes the files of the distribution's programs and the lists of the
// packages they belong to.
func (b *diskBuilder) programs(f Facts) {
	alternatives := map[string]string{"awk": "/usr/bin/mawk", "nawk": "/usr/bin/mawk", "which": "/usr/bin/which.debianutils", "vi": "/usr/bin/vim.tiny", "editor": "/usr/bin/vim.tiny"}
	lists := f.packaging().lists
	b.dir(lists, 0o755)
	for _, pkg := range f.distributionPackages() {
		var list strings.Builder
		for _, file := range slices.Sorted(maps.Keys(pkg.files)) {
			list.WriteString(file + "\n")
			target := pkg.files[file]
			if target == "" {
				b.program(file)
				continue
			}
			b.check(b.disk.Symlink(target, file))
			if name, ok := strings.CutPrefix(target, "/etc/alternatives/"); ok {
				b.check(b.disk.MkdirAll("/etc/alternatives", 0o755))
				b.check(b.disk.Symlink(alternatives[name], target))
			}
		}
		b.check(b.disk.WriteFile(lists+"/"+pkg.name+".list", []byte(list.String()), 0o644))
	}
}

func (b *diskBuilder) program(file string) {
	mode := fs.FileMode(0o755)
	switch path.Base(file) {
	case "chfn", "chsh", "gpasswd", "mount", "newgrp", "passwd", "su", "sudo", "umount":
		mode |= fs.ModeSetuid
	case "chage", "expiry", "ssh-agent", "wall", "crontab":
		mode |= fs.ModeSetgid
	}
	b.check(b.disk.WriteFile(file, []byte(programMark+path.Base(file)+"\n"), 0o755))
	if mode != 0o755 {
		b.check(b.disk.Chmod(file, mode))
	}
}
