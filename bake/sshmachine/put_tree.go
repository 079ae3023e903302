package sshmachine

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
)

// putTree sends a tree the best way that the machine offers.
func (m *Machine) putTree(ctx context.Context, up *bake.Upload, fsys fs.FS, dest string, ex exclude.Patterns) error {
	src, err := newSourceTree(ctx, fsys, ex)
	if err != nil {
		return err
	}
	return m.withConn(ctx, func(c *conn) error {
		su, g, err := c.prepareTransfer(ctx, up.Sudo)
		if err != nil {
			return err
		}
		scripts := &treeScripts{
			dest: dest, tag: newTag(), root: src.root, owner: chownArg(up),
			hasher: g.digestCommand(src.bytes), xargs: g.has("xargs"),
		}
		report := newProgress(up.Progress, src.bytes)
		if err := c.sendTree(ctx, su, g, src, scripts, report); err != nil {
			return err
		}
		report.finish()
		return nil
	})
}

func (c *conn) sendTree(ctx context.Context, su *sudo, g *guestInfo, src *sourceTree, scripts *treeScripts, report *progress) error {
	if g.has("tar") {
		return c.putTar(ctx, su, g, src, scripts, report)
	}
	if su != nil && su.needed {
		scripts.upload = path.Join(g.facts.Home, tempPrefix+scripts.tag)
		scripts.login = g.facts.User
	}
	// The control's answer to "where" is the directory that it has made.
	t, err := c.startTransferScript(ctx, su, scripts.begin(), `where) printf '%s\n' "$w";;`+"\n", scripts.end())
	if err != nil {
		return err
	}
	defer t.close()
	into, err := t.call("where")
	if err != nil {
		return err
	}
	switch open := c.openSFTP(ctx, 1); {
	case len(open) > 0:
		err = putSFTP(ctx, open[0], src, into, report)
		closeAll(open)
	case g.has("scp"):
		err = c.putSCP(ctx, src, into, report)
	default:
		err = fmt.Errorf("the machine has neither tar nor SFTP nor scp")
	}
	if err != nil {
		return err
	}
	return t.commit()
}

// A source is a tree to be sent: what is in it is read when it is sent.
type sourceTree struct {
	fsys    fs.FS
	root    fs.FileMode // permission bits of the root
	entries []entry     // every directory before what is in it
	bytes   int64
}

const (
	specialBits = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	modeBits    = fs.ModePerm | specialBits
	ownerRWX    = 0o700
)

// newSource lists a tree. Only names, modes and sizes are kept.
func newSourceTree(ctx context.Context, fsys fs.FS, ex exclude.Patterns) (*sourceTree, error) {
	s := &sourceTree{fsys: fsys}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if name != "." && ex.Match(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return s.add(name, info)
	})
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return s, nil
}

func (s *sourceTree) add(name string, info fs.FileInfo) error {
	e := entry{name: path.Clean(name), mode: info.Mode(), mtime: info.ModTime()}
	if e.mtime.IsZero() {
		e.mtime = time.Now()
	}
	switch {
	case name == ".":
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", info.Name())
		}
		s.root = info.Mode()&modeBits | ownerRWX
		return nil
	case info.IsDir():
		// Read-only directories, as embed.FS has them, could neither be filled
		// nor moved by a login that is not root.
		e.mode |= ownerRWX
	case info.Mode().IsRegular():
		e.size = info.Size()
		s.bytes += e.size
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(s.fsys, name)
		if err != nil {
			return err
		}
		e.link = target
	default:
		return fmt.Errorf("%s is neither a file, a directory nor a symbolic link; Exclude leaves it out", name)
	}
	s.entries = append(s.entries, e)
	return nil
}

// treeScripts are the parts of writing a tree: it arrives in t below the
// staging directory, beside n, the names of its files, and h, their digest.
type treeScripts struct {
	dest   string
	tag    string
	upload string // where the tree arrives; empty is the staging directory
	login  string // who owns upload
	root   fs.FileMode
	owner  string
	hasher string
	xargs  bool
}

// begin makes the staging directory: in dest when that exists, for it is surely
// writable and on the same file system, else beside it.
func (t *treeScripts) begin() string {
	var b strings.Builder
	fmt.Fprintf(&b, "d=%s\n", quote(t.dest))
	b.WriteString(`if [ -d "$d" ]; then s="${d%/}/` + tempPrefix + t.tag + `"; else` + "\n")
	b.WriteString(`if [ -e "$d" ] || [ -L "$d" ]; then echo "$d is not a directory" >&2; exit 1; fi` + "\n")
	parent := path.Dir(t.dest)
	fmt.Fprintf(&b, "mkdir -p %s || exit 1\n", quote(parent))
	fmt.Fprintf(&b, "s=%s\nfi\n", quote(path.Join(parent, tempPrefix+t.tag)))
	upload := `"$s"`
	if t.upload != "" {
		upload = quote(t.upload)
	}
	fmt.Fprintf(&b, "w=%s\n", upload)
	// What is still on its way over SFTP can come between.
	b.WriteString(trapCleanUp(`rm -rf "$s" "$w" || { sleep 1; rm -rf "$s" "$w"; }`))
	b.WriteString(`(umask 077; mkdir "$s" && if [ "$w" != "$s" ]; then mkdir "$w"; fi && mkdir "$w/t") || exit 1` + "\n")
	if t.upload != "" {
		fmt.Fprintf(&b, "chown -R %s \"$w\" || exit 1\n", quote(t.login))
	}
	return b.String()
}

// end checks what has arrived, sets owners and moves it into place. The file h
// arrives last: without it the transfer broke off.
func (t *treeScripts) end() string {
	var b strings.Builder
	b.WriteString(`if [ ! -f "$w/h" ]; then echo "the transfer broke off" >&2; exit 1; fi` + "\n")
	b.WriteString(`if [ "$w" != "$s" ]; then mv "$w"/* "$s/" || exit 1; fi` + "\n")
	if t.hasher != "" && t.xargs {
		b.WriteString(`v=$(cd "$s/t" && ` + digestOfDigests(t.hasher) + " <../n)\n")
		b.WriteString(`if [ "$v" != "$(cat "$s/h")" ]; then echo "the digest differs: $v" >&2; exit 1; fi` + "\n")
	}
	// Each is the work of a way that has no links, and of bits that chown clears.
	const script = `if [ -f "$s/%[1]s" ]; then (cd "$s/t" && . ../%[1]s) || exit 1; fi` + "\n"
	fmt.Fprintf(&b, script, "l")
	owner := t.owner
	if owner == "" && t.upload != "" {
		owner = "0:0"
	}
	if owner != "" {
		fmt.Fprintf(&b, "chown -hR %s \"$s/t\" || exit 1\n", quote(owner))
	}
	fmt.Fprintf(&b, script, "m")
	move := `xargs -0 -r /bin/sh -c 'mv -f "$@" "$0/"' "$2"`
	if !t.xargs {
		move = ""
	}
	b.WriteString(mergeScript(move))
	b.WriteString(`if [ -d "$d" ]; then merge "$s/t" "${d%/}" || exit 1` + "\n")
	fmt.Fprintf(&b, "else chmod %s \"$s/t\" && mv \"$s/t\" \"$d\" || exit 1; fi\n", octal(t.root))
	return b.String()
}

// mergeScript defines merge FROM TO, which moves what is in one directory into
// another. A directory that is missing there is moved as it is.
func mergeScript(move string) string {
	const each = `for e in * .[!.]* ..?*; do if [ -e "$e" ] || [ -L "$e" ]; then `
	script := "merge() (\ncd \"$1\" || exit 1\n" +
		each + `if [ -d "$e" ] && [ ! -L "$e" ] && [ -d "$2/$e" ]; then merge "$1/$e" "$2/$e" && rmdir "$1/$e" || exit 1; fi; fi; done` + "\n"
	if move == "" {
		return script + each + `mv -f "./$e" "$2/" || exit 1; fi; done` + "\n)\n"
	}
	return script + each + `printf '%s\0' "./$e"; fi; done | ` + move + "\n)\n"
}
