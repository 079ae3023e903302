package sandbox

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// tarRun is a run of tar.
type tarRun struct {
	p         *Process
	o         opts
	dir       string
	status    int
	dirs      []extractedDir // finished last, since extracting entries changes them
	sameOwner bool
	numeric   bool // use numeric owners
	strip     int
	excluded  []string // patterns
}

type extractedDir struct {
	file string
	h    *tar.Header
}

func tarCommand(_ context.Context, p *Process) int {
	if len(p.Args) > 1 && !strings.HasPrefix(p.Args[1], "-") { // tar xzf archive
		p.Args = append([]string{p.Args[0], "-" + p.Args[1]}, p.Args[2:]...)
	}
	o, names, bad := p.options("xctzf:C:T:pvkmhOjaX:", "extract=x", "get=x", "create=c", "list=t", "gzip=z", "file=f:", "directory=C:", "files-from=T:",
		"preserve-permissions=p", "same-permissions=p", "same-owner=s", "no-same-owner=n", "no-same-permissions=N", "numeric-owner=u",
		"owner=w:", "group=g:", "strip-components=S:", "verbose=v", "overwrite=Y", "touch=m", "keep-old-files=k", "no-overwrite-dir=Z",
		"auto-compress=a", "exclude-from=I:", "format=F:", "sort=o:", "mtime=M:", "warning=W:", "unlink-first=U", "delay-directory-restore=D", "exclude=E:", "to-stdout=O", "bzip2=j")
	if bad != 0 {
		return bad
	}
	for _, name := range []string{"h", "M", "k"} {
		if o.on(name) {
			return p.fail(2, "option '%s' is not supported by this machine", name)
		}
	}
	t := &tarRun{p: p, o: o, dir: p.Dir, numeric: o.on("u")}
	if dir, ok := o.value("C"); ok {
		t.dir = p.Path(dir)
		if info, err := p.FS.Stat(t.dir); err != nil || !info.IsDir() {
			return p.fail(2, "%s: Cannot open: No such file or directory", dir)
		}
	}
	t.sameOwner = (p.UID == 0 || o.on("s")) && !o.on("n")
	if text, ok := o.value("S"); ok {
		t.strip, _ = number(text)
	}
	t.excluded = o.values("E")
	for _, list := range append(o.values("X"), o.values("I")...) {
		listed, status := p.listedNames(list)
		if status != 0 {
			return 2
		}
		t.excluded = append(t.excluded, listed...)
	}
	if list, ok := o.value("T"); ok {
		listed, status := p.listedNames(list)
		if status != 0 {
			return 2
		}
		names = append(listed, names...)
	}
	var err error
	switch o.last("xct") {
	case "c":
		err = t.create(names)
	case "x", "t":
		err = t.read(o.last("xct") == "t", names)
	default:
		return p.fail(2, "You must specify one of the '-ctx' options")
	}
	if err != nil {
		p.fail(2, "%s", errText(err))
		return p.fail(2, "Error is not recoverable: exiting now")
	}
	if t.status != 0 {
		p.fail(2, "Exiting with failure status due to previous errors")
	}
	return t.status
}

func (t *tarRun) open() (io.ReadCloser, error) {
	name, ok := t.o.value("f")
	if !ok {
		name = "-"
	}
	in, err := t.p.input(name)
	if err != nil {
		return nil, fmt.Errorf("%s: Cannot open: %s", name, errText(err))
	}
	return in, nil
}

func (t *tarRun) read(list bool, only []string) error {
	in, err := t.open()
	if err != nil {
		return err
	}
	defer shut(in)
	begin := bufio.NewReader(in)
	magic, _ := begin.Peek(3) // an empty archive has none
	var r io.Reader = begin
	switch {
	case t.o.on("z") || bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		if r, err = gzip.NewReader(begin); err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
	case t.o.on("j") || bytes.HasPrefix(magic, []byte("BZh")):
		r = bzip2.NewReader(begin)
	}
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !wantedMember(h.Name, only) || t.excludes(h.Name) {
			continue
		}
		switch {
		case list && t.o.on("v"):
			t.p.print(t.describe(h), "\n")
		case list || t.o.on("v"):
			t.p.print(h.Name, "\n")
		}
		if list {
			continue
		}
		if t.o.on("O") {
			if _, err := io.Copy(t.p.Stdout, archive); err != nil { //nolint:gosec // the guest's own archive
				return err
			}
			continue
		}
		if err := t.extract(h, archive); err != nil {
			t.status = t.p.fail(2, "%s: Cannot open: %s", h.Name, errText(err))
		}
	}
	// Drain the padding after the end of the archive, or its writer blocks.
	if _, err := io.Copy(io.Discard, r); err != nil { //nolint:gosec // the guest's own archive, in the guest's memory
		return err
	}
	for _, dir := range slices.Backward(t.dirs) {
		if err := t.finish(dir.file, dir.h); err != nil {
			t.status = t.p.fail(2, "%s: %s", dir.h.Name, errText(err))
		}
	}
	return nil
}

func wantedMember(name string, only []string) bool {
	name = strings.TrimSuffix(name, "/")
	for _, want := range only {
		want = strings.TrimSuffix(want, "/")
		if name == want || strings.HasPrefix(name, want+"/") {
			return true
		}
	}
	return len(only) == 0
}

// target returns the path to extract a member to, which is always below t.dir.
// It is empty if the member is stripped.
func (t *tarRun) target(name string) string {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	parts := strings.Split(clean, "/")
	if t.strip >= len(parts) && t.strip > 0 {
		return ""
	}
	return path.Join(t.dir, path.Join(parts[t.strip:]...))
}

func (t *tarRun) extract(h *tar.Header, content io.Reader) error {
	file := t.target(h.Name)
	if file == "" {
		return nil
	}
	disk := t.p.FS
	if h.Typeflag != tar.TypeDir {
		if err := disk.MkdirAll(path.Dir(file), 0o777); err != nil {
			return err
		}
		if info, err := disk.Lstat(file); err == nil && !info.IsDir() {
			if err := disk.Remove(file); err != nil {
				return err
			}
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		info, err := disk.Stat(file)
		if err == nil && info.IsDir() && t.o.on("Z") {
			return nil
		}
		if err := disk.MkdirAll(file, 0o777); err != nil {
			return err
		}
		t.dirs = append(t.dirs, extractedDir{file, h})
		return nil
	case tar.TypeSymlink:
		if err := disk.Symlink(h.Linkname, file); err != nil || !t.sameOwner {
			return err
		}
		uid, gid := t.owner(h)
		return disk.Lchown(file, uid, gid)
	case tar.TypeLink:
		return disk.Link(t.target(h.Linkname), file)
	case tar.TypeReg:
		f, err := disk.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		return t.finish(file, h)
	}
	return fmt.Errorf("type %q is not supported by this machine", h.Typeflag)
}

// owner returns the owner and group of a member, by name if the names exist.
func (t *tarRun) owner(h *tar.Header) (uid, gid int) {
	uid, gid = h.Uid, h.Gid
	if !t.numeric {
		if u, ok := lookupUser(t.p.FS, h.Uname); ok && h.Uname != "" {
			uid = u.uid
		}
		if g, ok := lookupGroup(t.p.FS, h.Gname); ok && h.Gname != "" {
			gid = g.gid
		}
	}
	return uid, gid
}

func (t *tarRun) finish(file string, h *tar.Header) error {
	if t.sameOwner {
		uid, gid := t.owner(h)
		if err := t.p.FS.Chown(file, uid, gid); err != nil {
			return err
		}
	}
	mode := modeOf(uint32(h.Mode)) //nolint:gosec // the low bits
	if !t.o.on("p") && t.p.UID != 0 || t.o.on("N") {
		mode &^= t.p.Umask
	}
	if err := t.p.FS.Chmod(file, mode); err != nil {
		return err
	}
	if t.o.on("m") {
		return nil
	}
	return t.p.FS.Chtimes(file, h.AccessTime, h.ModTime)
}
