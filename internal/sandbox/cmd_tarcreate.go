package sandbox

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// excludes reports whether a pattern of --exclude matches the name of a member, its end
// after a slash, or a directory above it.
func (t *tarRun) excludes(name string) bool {
	for _, pattern := range t.excluded {
		re, err := compile(globExpression(strings.TrimSuffix(pattern, "/")), true, false, false)
		if err != nil {
			continue
		}
		parts := strings.Split(strings.TrimSuffix(name, "/"), "/")
		for end := 1; end <= len(parts); end++ {
			for from := range end {
				if re.MatchString(strings.Join(parts[from:end], "/")) {
					return true
				}
			}
		}
	}
	return false
}

// describe returns the line of tar -tv for a member.
func (t *tarRun) describe(h *tar.Header) string {
	owner := h.Uname + "/" + h.Gname
	if t.numeric || h.Uname == "" {
		owner = itoa(h.Uid) + "/" + itoa(h.Gid)
	}
	size := itoa(int(h.Size))
	name := h.Name
	mode := longMode(h.FileInfo().Mode())
	switch h.Typeflag {
	case tar.TypeSymlink:
		name += " -> " + h.Linkname
	case tar.TypeLink:
		name += " link to " + h.Linkname
		mode = "h" + mode[1:]
	}
	const column = 19 // of owner and size together
	return mode + " " + owner + padSpaces(size, max(len(size)+1, column-len(owner))) + " " + t.p.local(h.ModTime, false).Format("2006-01-02 15:04") + " " + name
}

// listedNames returns the lines of a file.
func (p *Process) listedNames(file string) (names []string, status int) {
	const most = 16 << 20
	size := 0
	status = p.inputs([]string{file}, func(_ string, r io.Reader) error {
		err := lines(r, func(line string) bool {
			size += len(line)
			names = append(names, strings.TrimSuffix(line, "\n"))
			return size <= most
		})
		if size > most {
			err = errors.New("more than 16 MiB of names, which this machine does not read")
		}
		return err
	})
	return names, status
}

func (t *tarRun) create(names []string) error {
	if _, listed := t.o.value("T"); len(names) == 0 && !listed {
		return errors.New("Cowardly refusing to create an empty archive") //nolint:staticcheck // tar's message
	}
	out := t.p.Stdout
	if name, ok := t.o.value("f"); ok && name != "-" {
		f, err := t.p.FS.OpenFile(t.p.Path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return fmt.Errorf("%s: Cannot open: %s", name, errText(err))
		}
		defer shut(f)
		out = f
	}
	var closers []io.Closer
	if t.o.on("j") {
		return errors.New("option '-j' is not supported by this machine for writing")
	}
	if name, _ := t.o.value("f"); t.o.on("z") || t.o.on("a") && strings.HasSuffix(name, "gz") {
		z := gzip.NewWriter(out)
		closers, out = append(closers, z), z
	}
	archive := tar.NewWriter(out)
	closers = append(closers, archive)
	for _, name := range names {
		base := absPath(t.dir, name)
		err := t.p.walk(base, func(file string, info *memfs.Info) error {
			member := strings.TrimLeft(name+strings.TrimPrefix(file, base), "/")
			if t.excludes(member) {
				if info.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			return t.add(archive, member, file, info)
		})
		if err != nil {
			t.status = t.p.fail(2, "%s: Cannot stat: %s", name, errText(err))
		}
	}
	for _, c := range slices.Backward(closers) {
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (t *tarRun) add(archive *tar.Writer, member, file string, info *memfs.Info) error {
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if link, err = t.p.FS.Readlink(file); err != nil {
			return err
		}
	} else if !info.Mode().IsRegular() && !info.IsDir() {
		return nil // a device
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid = member, info.UID(), info.GID()
	if info.IsDir() {
		h.Name += "/"
	}
	if !t.numeric {
		h.Uname, h.Gname = userName(t.p.FS, h.Uid), groupName(t.p.FS, h.Gid)
	}
	if owner, ok := t.o.value("w"); ok {
		h.Uname = owner
		h.Uid, _ = number(owner)
	}
	if group, ok := t.o.value("g"); ok {
		h.Gname = group
		h.Gid, _ = number(group)
	}
	if t.o.on("v") {
		w := t.p.Stdout
		if name, ok := t.o.value("f"); !ok || name == "-" {
			w = t.p.Stderr
		}
		fprintf(w, "%s\n", h.Name)
	}
	if err := archive.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := t.p.FS.Open(file)
	if err != nil {
		return err
	}
	defer shut(f)
	_, err = io.Copy(archive, f)
	return err
}
