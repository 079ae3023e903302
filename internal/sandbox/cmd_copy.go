package sandbox

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// copyOptions are the options of cp.
type copyOptions struct {
	recursive, force, links     bool
	update                      bool
	say                         func(from, to string)
	mode, owner, times, clobber bool
	umask                       fs.FileMode
}

func cp(_ context.Context, p *Process) int {
	o, names, bad := p.options("rRapdfnTt:vPLu", "verbose=v", "update=u", "recursive=r", "archive=a", "force=f", "no-clobber=N", "no-dereference=P",
		"no-target-directory=T", "target-directory=t:", "preserve=k:", "dereference=L")
	if bad != 0 {
		return bad
	}
	archive := o.on("a")
	c := copyOptions{
		recursive: o.on("r") || o.on("R") || archive, force: o.on("f"),
		links: o.on("d") || o.on("P") || archive || (o.on("r") || o.on("R")) && !o.on("L"),
		mode:  o.on("p") || archive, owner: o.on("p") || archive, times: o.on("p") || archive,
		clobber: !o.on("n") && !o.on("N"), umask: p.Umask, update: o.on("u"),
	}
	for _, what := range o.values("k") {
		for attr := range strings.SplitSeq(what, ",") {
			switch attr {
			case "mode":
				c.mode = true
			case "ownership":
				c.owner = true
			case "timestamps":
				c.times = true
			case "all":
				c.mode, c.owner, c.times = true, true, true
			case "links":
				c.links = true
			default:
				return p.fail(2, "--preserve=%s is not supported by this machine", attr)
			}
		}
	}
	contents := len(names) > 0 && (names[0] == "." || strings.HasSuffix(names[0], "/."))
	pairs, status := p.destinations(o, names, false)
	for _, pair := range pairs {
		if contents && pair[0] == names[0] {
			pair[1] = strings.TrimSuffix(pair[1], "/.")
		}
		from, to := p.Path(pair[0]), p.Path(pair[1])
		c.say = func(a, b string) {
			p.say(o, "%s -> %s", quote(entryPathOf(pair[0], strings.TrimPrefix(a, from))), quote(entryPathOf(pair[1], strings.TrimPrefix(b, to))))
		}
		if err := p.copyTree(from, to, c); err != nil {
			status = p.copyFailed(pair, c, err)
		}
	}
	return status
}

// entryPathOf appends what follows a file's path to its name.
func entryPathOf(name, rest string) string {
	if rest == "" {
		return name
	}
	return entryPath(name, strings.TrimPrefix(rest, "/"))
}

// copyFailed prints why a file or directory was not copied.
func (p *Process) copyFailed(pair [2]string, c copyOptions, err error) int {
	from, to := p.Path(pair[0]), p.Path(pair[1])
	info, statErr := p.FS.Lstat(from)
	existing, toErr := p.FS.Stat(to)
	_, dirErr := p.FS.Stat(path.Dir(to))
	switch {
	case statErr != nil:
		return p.fail(1, "cannot stat %s: %s", quote(pair[0]), errText(statErr))
	case info.IsDir() && !c.recursive:
		return p.fail(1, "-r not specified; omitting directory %s", quote(pair[0]))
	case toErr == nil && existing.Ino() == info.Ino():
		return p.fail(1, "%s and %s are the same file", quote(pair[0]), quote(pair[1]))
	case dirErr != nil && info.IsDir():
		return p.fail(1, "cannot create directory %s: %s", quote(pair[1]), errText(err))
	case dirErr != nil || info.Mode().IsRegular() && toErr != nil:
		return p.fail(1, "cannot create regular file %s: %s", quote(pair[1]), errText(err))
	}
	return p.fail(1, "cannot copy %s to %s: %s", quote(pair[0]), quote(pair[1]), errText(err))
}

func (p *Process) copyTree(from, to string, c copyOptions) error {
	info, err := p.FS.Stat(from)
	if c.links {
		info, err = p.FS.Lstat(from)
	}
	if err != nil {
		return err
	}
	if _, err := p.FS.Lstat(to); err == nil && !c.clobber && !info.IsDir() {
		return nil
	} else if err == nil && c.update && !info.IsDir() && !p.newer(from, to) {
		return nil
	}
	if c.say != nil {
		if _, err := p.FS.Lstat(to); err != nil || !info.IsDir() {
			defer func(from, to string) { c.say(from, to) }(from, to)
		}
	}
	switch {
	case info.IsDir():
		return p.copyDir(from, to, info, c)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := p.FS.Readlink(from)
		if err != nil {
			return err
		}
		_ = p.FS.Remove(to) // if it fails, so does Symlink
		if err := p.FS.Symlink(target, to); err != nil {
			return err
		}
		if c.owner {
			_ = p.FS.Lchown(to, info.UID(), info.GID()) // fails unless root
		}
		return nil
	}
	if err := p.copyFile(from, to, info, c.force); err != nil {
		return err
	}
	return p.preserve(to, info, c)
}

func (p *Process) copyDir(from, to string, info *memfs.Info, c copyOptions) error {
	if !c.recursive {
		return errors.New("-r not specified; omitting directory")
	}
	if inside := strings.TrimRight(path.Clean(from), "/") + "/"; strings.HasPrefix(path.Clean(to)+"/", inside) {
		return errors.New("cannot copy a directory into itself")
	}
	entries, err := p.FS.ReadDir(from)
	if err != nil {
		return err
	}
	err = p.FS.Mkdir(to, info.Mode().Perm()|0o700)
	created := err == nil
	if err != nil {
		if existing, statErr := p.FS.Stat(to); statErr != nil || !existing.IsDir() {
			return err
		}
	}
	for _, e := range entries {
		if err := p.copyTree(entryPath(from, e.Name()), entryPath(to, e.Name()), c); err != nil {
			return err
		}
	}
	if created && !c.mode {
		if err := p.FS.Chmod(to, info.Mode()&^c.umask); err != nil {
			return err
		}
	}
	return p.preserve(to, info, c)
}

func (p *Process) copyFile(from, to string, info *memfs.Info, force bool) error {
	if existing, err := p.FS.Stat(to); err == nil && existing.Ino() == info.Ino() {
		return errors.New("they are the same file")
	}
	in, err := p.FS.Open(from)
	if err != nil {
		return err
	}
	defer shut(in)
	out, err := p.FS.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	if err != nil && force && p.FS.Remove(to) == nil {
		out, err = p.FS.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, info.Mode().Perm())
	}
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

// preserve gives a copy the attributes of the original selected by c. Like cp, it
// ignores a failure to change the owner.
func (p *Process) preserve(to string, info *memfs.Info, c copyOptions) error {
	if c.owner {
		_ = p.FS.Chown(to, info.UID(), info.GID())
	}
	if c.mode {
		if err := p.FS.Chmod(to, info.Mode()); err != nil {
			return err
		}
	}
	if c.times {
		return p.FS.Chtimes(to, info.AccessTime(), info.ModTime())
	}
	return nil
}

func install(_ context.Context, p *Process) int {
	o, names, bad := p.options("m:o:g:dDTt:vcp", "mode=m:", "owner=o:", "group=g:", "directory=d", "no-target-directory=T",
		"target-directory=t:", "preserve-timestamps=p")
	if bad != 0 {
		return bad
	}
	mode := fs.FileMode(0o755)
	if spec, ok := o.value("m"); ok {
		var err error
		if mode, err = parseMode(spec, 0, false, 0); err != nil {
			return p.fail(1, "%v", err)
		}
	}
	uid, gid := -1, -1
	if owner, ok := o.value("o"); ok {
		var unknown string
		if uid, _, unknown = parseOwner(p.FS, owner); unknown != "" {
			return p.fail(1, "%s", unknown)
		}
	}
	if name, ok := o.value("g"); ok {
		if gid, ok = parseGroup(p.FS, name); !ok {
			return p.fail(1, "invalid group: %s", quote(name))
		}
	}
	finish := func(file string) error {
		if uid >= 0 || gid >= 0 {
			if err := p.FS.Chown(file, uid, gid); err != nil {
				return err
			}
		}
		return p.FS.Chmod(file, mode)
	}
	if o.on("d") {
		return p.each(names, "cannot create directory", func(dir string) error {
			if err := p.FS.MkdirAll(dir, 0o777); err != nil {
				return err
			}
			return finish(dir)
		})
	}
	if o.on("D") {
		dir := ""
		if target, ok := o.value("t"); ok {
			dir = target
		} else if len(names) == 2 {
			dir = path.Dir(names[1])
		}
		if err := p.FS.MkdirAll(p.Path(dir), 0o777); dir != "" && err != nil {
			return p.fail(1, "cannot create directory %s: %s", quote(dir), errText(err))
		}
	}
	pairs, status := p.destinations(o, names, false)
	for _, pair := range pairs {
		if err := p.installFile(p.Path(pair[0]), p.Path(pair[1]), o.on("p"), finish); err != nil {
			status = p.fail(1, "cannot create regular file %s: %s", quote(pair[1]), errText(err))
		}
	}
	return status
}

func (p *Process) installFile(from, to string, times bool, finish func(string) error) error {
	if from == "/dev/stdin" {
		data, err := p.readAll(p.Stdin)
		if err != nil {
			return err
		}
		if err := p.FS.RemoveAll(to); err != nil {
			return err
		}
		if err := p.FS.WriteFile(to, data, 0o600); err != nil {
			return err
		}
		return finish(to)
	}
	info, err := p.FS.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("omitting directory")
	}
	if existing, statErr := p.FS.Lstat(to); statErr == nil && !existing.IsDir() {
		if existing.Ino() == info.Ino() {
			return errors.New("they are the same file")
		}
		if err := p.FS.Remove(to); err != nil {
			return err
		}
	}
	if err := p.copyFile(from, to, info, false); err != nil {
		return err
	}
	if times {
		if err := p.FS.Chtimes(to, time.Time{}, info.ModTime()); err != nil {
			return err
		}
	}
	return finish(to)
}
