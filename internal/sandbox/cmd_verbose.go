package sandbox

import (
	"io/fs"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// say prints what a command with -v has done.
func (p *Process) say(o opts, format string, args ...any) {
	if o.on("v") {
		fprintf(p.Stdout, format+"\n", args...)
	}
}

// shown returns a path as the user wrote it: below one of the operands, or relative to
// the working directory.
func (p *Process) shown(file string, names []string) string {
	for _, name := range names {
		full := p.Path(name)
		if file == full {
			return name
		}
		if rest, ok := strings.CutPrefix(file, strings.TrimSuffix(full, "/")+"/"); ok {
			return entryPath(name, rest)
		}
		if strings.HasPrefix(full, file+"/") && !strings.HasPrefix(name, "/") { // a parent
			return strings.TrimSuffix(name, strings.TrimPrefix(full, file))
		}
	}
	return file
}

// sayRemoved prints what rm -rv removes: entries before their directory.
func (p *Process) sayRemoved(o opts, file string, names []string) error {
	var dirs []string
	err := p.walk(file, func(at string, info *memfs.Info) error {
		for len(dirs) > 0 && !strings.HasPrefix(at, dirs[len(dirs)-1]+"/") {
			p.say(o, "removed directory %s", quote(p.shown(dirs[len(dirs)-1], names)))
			dirs = dirs[:len(dirs)-1]
		}
		if info.IsDir() {
			dirs = append(dirs, at)
		} else {
			p.say(o, "removed %s", quote(p.shown(at, names)))
		}
		return nil
	})
	for len(dirs) > 0 {
		p.say(o, "removed directory %s", quote(p.shown(dirs[len(dirs)-1], names)))
		dirs = dirs[:len(dirs)-1]
	}
	return err
}

// sayMode prints what chmod -v did.
func (p *Process) sayMode(o opts, name string, before, after fs.FileMode) {
	text := func(m fs.FileMode) string { return padLeft(octal(int(bitsOf(m))), 4) + " (" + longMode(m)[1:] + ")" }
	if bitsOf(before) == bitsOf(after) {
		p.say(o, "mode of %s retained as %s", quote(name), text(after))
		return
	}
	p.say(o, "mode of %s changed from %s to %s", quote(name), text(before), text(after))
}

// newer reports whether a file is newer than another one.
func (p *Process) newer(a, b string) bool {
	infoA, errA := p.FS.Stat(a)
	infoB, errB := p.FS.Stat(b)
	return errB != nil || errA == nil && infoA.ModTime().After(infoB.ModTime())
}

// relative returns the path of a file as seen from a directory.
func (p *Process) relative(file, from string) string {
	for _, at := range []*string{&file, &from} {
		if real, err := p.canonical(*at, "m"); err == nil {
			*at = real
		}
	}
	to, base := strings.Split(strings.Trim(path.Clean(file), "/"), "/"), strings.Split(strings.Trim(path.Clean(from), "/"), "/")
	if file == "/" {
		to = nil
	}
	if from == "/" {
		base = nil
	}
	same := 0
	for same < len(to) && same < len(base) && to[same] == base[same] {
		same++
	}
	parts := append(strings.Split(strings.Repeat("../", len(base)-same), "/"), to[same:]...)
	if rel := path.Join(parts...); rel != "" {
		return rel
	}
	return "."
}
