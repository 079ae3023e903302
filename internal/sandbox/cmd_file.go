package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// each calls do for every name and prints errors as "verb 'name': error".
func (p *Process) each(names []string, verb string, do func(file string) error) int {
	if len(names) == 0 {
		if p.name() == "touch" {
			return p.tryHelp("missing file operand")
		}
		return p.tryHelp("missing operand")
	}
	quoted := quote
	if p.name() == "mkdir" {
		quoted = p.quote
	}
	status := 0
	for _, name := range names {
		if err := do(p.Path(name)); err != nil {
			status = p.fail(1, "%s %s: %s", verb, quoted(name), errText(err))
		}
	}
	return status
}

func mkdir(_ context.Context, p *Process) int {
	o, names, bad := p.options("pm:v", "parents=p", "mode=m:", "verbose=v")
	if bad != 0 {
		return bad
	}
	spec, hasMode := o.value("m")
	return p.each(names, "cannot create directory", func(dir string) error {
		make := p.FS.Mkdir
		missing := []string{dir}
		if o.on("p") {
			if info, err := p.FS.Stat(dir); err == nil && info.IsDir() {
				return nil
			}
			make = p.FS.MkdirAll
			for up := path.Dir(dir); up != "/"; up = path.Dir(up) {
				if _, err := p.FS.Stat(up); err == nil {
					break
				}
				missing = append(missing, up)
			}
		}
		if err := make(dir, 0o777); err != nil {
			return err
		}
		for _, made := range slices.Backward(missing) {
			p.say(o, "mkdir: created directory %s", quote(p.shown(made, names)))
		}
		if !hasMode {
			return nil
		}
		mode, err := parseMode(spec, 0o777, true, p.Umask)
		if err != nil {
			return err
		}
		return p.FS.Chmod(dir, mode)
	})
}

func rm(_ context.Context, p *Process) int {
	o, names, bad := p.options("rRfdv", "recursive=r", "force=f", "dir=d", "verbose=v", "one-file-system=o", "preserve-root=o")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 && o.on("f") {
		return 0
	}
	return p.each(names, "cannot remove", func(file string) error {
		switch path.Base(strings.TrimRight(file, "/")) {
		case ".", "..":
			return errors.New("refusing to remove '.' or '..' directory")
		}
		if path.Clean(file) == "/" {
			return errors.New("it is dangerous to operate recursively on '/'")
		}
		info, err := p.FS.Lstat(file)
		switch {
		case o.on("f") && (errors.Is(err, fs.ErrNotExist)):
			return nil
		case err != nil:
			return err
		case o.on("r") || o.on("R"):
			if o.on("v") {
				if err := p.sayRemoved(o, file, names); err != nil {
					return err
				}
			}
			return p.FS.RemoveAll(file)
		case info.IsDir() && !o.on("d"):
			return syscall.EISDIR
		}
		if err := p.FS.Remove(file); err != nil {
			return err
		}
		p.say(o, "removed %s%s", map[bool]string{true: "directory "}[info.IsDir()], quote(p.shown(file, names)))
		return nil
	})
}

func rmdir(_ context.Context, p *Process) int {
	o, names, bad := p.options("pv", "verbose=v", "ignore-fail-on-non-empty=i", "parents=p")
	if bad != 0 {
		return bad
	}
	return p.each(names, "failed to remove", func(dir string) error {
		for dir = path.Clean(dir); ; dir = path.Dir(dir) {
			info, err := p.FS.Lstat(dir)
			p.say(o, "rmdir: removing directory, %s", quote(p.shown(dir, names)))
			if err == nil && !info.IsDir() {
				return syscall.ENOTDIR
			}
			if err == nil {
				err = p.FS.Remove(dir)
			}
			if err != nil && o.on("i") {
				if all, readErr := p.FS.ReadDir(dir); readErr == nil && len(all) > 0 {
					return nil
				}
			}
			if err != nil || !o.on("p") || path.Dir(dir) == "/" {
				return err
			}
		}
	})
}

// destinations returns pairs of source and destination for the operands of cp,
// mv, ln and install. If noFollow is set, a link to a directory is not used as a
// directory.
func (p *Process) destinations(o opts, names []string, noFollow bool) (pairs [][2]string, status int) {
	target, inDir := o.value("t")
	if !inDir {
		switch len(names) {
		case 0:
			return nil, p.tryHelp("missing file operand")
		case 1:
			return nil, p.tryHelp("missing destination file operand after %s", quote(names[0]))
		}
		target, names = names[len(names)-1], names[:len(names)-1]
	}
	if info, err := p.FS.Stat(p.Path(target)); err == nil && info.IsDir() && !o.on("T") {
		inDir = !noFollow || !p.isLink(target)
	}
	if len(names) > 1 && !inDir {
		if _, err := p.FS.Stat(p.Path(target)); err != nil {
			return nil, p.fail(1, "target %s: %s", quote(target), errText(err))
		}
		return nil, p.fail(1, "target %s: Not a directory", quote(target))
	}
	for _, name := range names {
		to := target
		if inDir {
			to = entryPath(target, path.Base(name))
		}
		pairs = append(pairs, [2]string{name, to})
	}
	return pairs, 0
}

func (p *Process) isLink(name string) bool {
	info, err := p.FS.Lstat(p.Path(name))
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func mv(ctx context.Context, p *Process) int {
	o, names, bad := p.options("fnTt:vu", "force=f", "no-clobber=N", "verbose=v", "update=u", "no-target-directory=T", "target-directory=t:")
	if bad != 0 {
		return bad
	}
	keep := o.on("n") || o.on("N")
	pairs, status := p.destinations(o, names, false)
	for _, pair := range pairs {
		from, to := p.Path(pair[0]), p.Path(pair[1])
		if _, err := p.FS.Lstat(to); err == nil && (keep || o.on("u") && !p.newer(from, to)) {
			continue
		}
		if info, err := p.FS.Lstat(from); err != nil {
			status = p.fail(1, "cannot stat %s: %s", quote(pair[0]), errText(err))
			continue
		} else if existing, err := p.FS.Lstat(to); err == nil && existing.Ino() == info.Ino() && from == to {
			status = p.fail(1, "%s and %s are the same file", quote(pair[0]), quote(pair[1]))
			continue
		}
		if err := p.FS.Rename(from, to); errors.Is(err, syscall.EXDEV) {
			if status = p.child([]string{"cp", "-a", "-T", "--", from, to}).exec(ctx); status == 0 {
				status = p.child([]string{"rm", "-rf", "--", from}).exec(ctx)
			}
		} else if err != nil {
			status = p.fail(1, "cannot move %s to %s: %s", quote(pair[0]), quote(pair[1]), errText(err))
			continue
		}
		p.say(o, "renamed %s -> %s", quote(pair[0]), quote(pair[1]))
	}
	return status
}

func ln(_ context.Context, p *Process) int {
	o, names, bad := p.options("sfnTt:vr", "verbose=v", "relative=r", "symbolic=s", "force=f", "no-dereference=n", "no-target-directory=T", "target-directory=t:")
	if bad != 0 {
		return bad
	}
	if len(names) == 1 {
		names = append(names, path.Base(names[0]))
	}
	pairs, status := p.destinations(o, names, o.on("n"))
	for _, pair := range pairs {
		to := p.Path(pair[1])
		if info, err := p.FS.Lstat(to); err == nil && o.on("f") && !info.IsDir() {
			_ = p.FS.Remove(to) // if it fails, so does the link
		}
		kind, err := "hard", error(nil)
		if o.on("s") {
			if o.on("r") {
				pair[0] = p.relative(p.Path(pair[0]), path.Dir(to))
			}
			kind, err = "symbolic", p.FS.Symlink(pair[0], to)
		} else {
			err = p.FS.Link(p.Path(pair[0]), to)
		}
		if err != nil {
			if kind == "hard" {
				kind = "hard link " + quote(pair[1]) + " => " + quote(pair[0])
			} else {
				kind = "symbolic link " + quote(pair[1])
			}
			status = p.fail(1, "failed to create %s: %s", kind, errText(err))
			continue
		}
		p.say(o, "%s %s> %s", quote(pair[1]), map[bool]string{true: "-", false: "="}[o.on("s")], quote(pair[0]))
	}
	return status
}

func touch(_ context.Context, p *Process) int {
	o, names, bad := p.options("cd:r:amt:", "no-create=c", "date=d:", "reference=r:")
	if bad != 0 {
		return bad
	}
	if o.on("t") {
		return p.fail(2, "option '-t' is not supported by this machine: use -d")
	}
	when := p.Host.o.Clock.Now()
	if ref, ok := o.value("r"); ok {
		info, err := p.FS.Stat(p.Path(ref))
		if err != nil {
			return p.fail(1, "failed to get attributes of %s: %s", quote(ref), errText(err))
		}
		when = info.ModTime()
	}
	if text, ok := o.value("d"); ok {
		at, err := parseDate(text, when)
		if err != nil {
			return p.fail(1, "invalid date format %s", p.quote(text))
		}
		when = at
	}
	atime, mtime := when, when
	if o.on("a") != o.on("m") {
		if o.on("a") {
			mtime = time.Time{}
		} else {
			atime = time.Time{}
		}
	}
	return p.each(names, "cannot touch", func(file string) error {
		if _, err := p.FS.Stat(file); errors.Is(err, fs.ErrNotExist) {
			if o.on("c") {
				return nil
			}
			f, err := p.FS.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o666)
			if err != nil {
				return err
			}
			_ = f.Close()
		}
		return p.FS.Chtimes(file, atime, mtime)
	})
}

func truncate(_ context.Context, p *Process) int {
	o, names, bad := p.options("s:c", "size=s:", "no-create=c")
	if bad != 0 {
		return bad
	}
	text, _ := o.value("s")
	size, ok := parseSize(text)
	if !ok {
		return p.fail(1, "Invalid number: %s", quote(text))
	}
	return p.each(names, "cannot open", func(file string) error {
		flag := os.O_WRONLY | os.O_CREATE
		if o.on("c") {
			flag = os.O_WRONLY
		}
		f, err := p.FS.OpenFile(file, flag, 0o666)
		if errors.Is(err, fs.ErrNotExist) && o.on("c") {
			return nil
		}
		if err != nil {
			return err
		}
		defer shut(f)
		return f.Truncate(size)
	})
}

// parseSize parses sizes such as "10", "4k", "2M", "1G" and "3MB".
func parseSize(s string) (int64, bool) {
	digits := strings.TrimRight(s, "bBckKmMgGiTtw")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	switch s[len(digits):] {
	case "", "c":
		return n, true
	case "w":
		return n * 2, true
	case "b":
		return n * 512, true
	case "k", "K", "KiB":
		return n << 10, true
	case "kB", "KB":
		return n * 1000, true
	case "m", "M", "MiB":
		return n << 20, true
	case "MB":
		return n * 1000 * 1000, true
	case "g", "G", "GiB":
		return n << 30, true
	case "GB":
		return n * 1000 * 1000 * 1000, true
	}
	return 0, false
}

// walk calls visit for the files of a tree, directories first. Like find, it does
// not follow symbolic links.
func (p *Process) walk(file string, visit func(file string, info *memfs.Info) error) error {
	info, err := p.FS.Lstat(file)
	if err != nil {
		return err
	}
	if err := visit(file, info); err != nil || !info.IsDir() {
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		return err
	}
	entries, err := p.FS.ReadDir(file)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := p.walk(entryPath(file, e.Name()), visit); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
