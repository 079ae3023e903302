package sshmachine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// putTree sends a tree.
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
			dest: dest, tag: newTag(), uid: g.facts.UID, root: src.root, owner: chownArg(up),
			hasher: g.digestCommand(src.bytes), xargs: g.has("xargs"),
			newlines: slices.ContainsFunc(src.entries, func(e entry) bool { return strings.Contains(e.name, "\n") }),
		}
		report := newProgress(up.Progress, src.bytes)
		if err := c.sendTree(ctx, su, g, src, scripts, report); err != nil {
			return err
		}
		report.finish()
		return nil
	})
}

// sendTree sends a tree as a tar stream if the machine has tar, or else by SFTP or
// scp.
func (c *conn) sendTree(ctx context.Context, su *sudo, g *guestInfo, src *sourceTree, scripts *treeScripts, report *progress) error {
	if g.has("tar") {
		return c.putTar(ctx, su, g, src, scripts, report)
	}
	unavailable, err := c.putSFTP(ctx, su, g, src, *scripts, report)
	switch {
	case unavailable == nil:
		return err
	case !g.has("scp"):
		return fmt.Errorf("machine has neither tar nor scp to write a tree, and SFTP cannot be used: %w", unavailable)
	}
	return c.putSCP(ctx, su, src, scripts, report)
}

// putSFTP sends a tree by SFTP, beside a transfer script. If the server has no SFTP or
// permits no second session, the first error says so.
func (c *conn) putSFTP(ctx context.Context, su *sudo, g *guestInfo, src *sourceTree, scripts treeScripts, report *progress) (unavailable, err error) {
	if su.elevates() {
		scripts.upload = path.Join(g.facts.Home, tempPrefix+scripts.tag)
		scripts.login = g.facts.User
	}
	// "where" prints the directory that the script created.
	t, err := c.startTransferScript(ctx, su, scripts.begin(), `where) printf '%s\n' "$w";;`+"\n", scripts.end())
	if err != nil {
		return nil, err
	}
	defer t.close()
	into, err := t.call("where")
	if err != nil {
		return nil, err
	}
	open, err := c.openSFTP(ctx, 1, false)
	if err != nil {
		return err, nil //nolint:nilerr // the caller tries another way
	}
	err = open[0].putTree(ctx, src, into, report)
	closeAll(open)
	if err != nil {
		return nil, err
	}
	return nil, t.commit()
}

// A sourceTree lists a tree to send. File contents are read while sending.
type sourceTree struct {
	fsys    fs.FS
	root    fs.FileMode // permission bits of the root
	entries []entry     // each directory before its contents
	bytes   int64       // total size of the files
}

const (
	specialBits = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	ownerRWX    = 0o700
)

// newSourceTree lists the entries of fsys that ex does not exclude.
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
		return nil, fmt.Errorf("read source: %w", err)
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
		s.root = info.Mode()&posixsh.ModeBits | ownerRWX
		return nil
	case info.IsDir():
		// An unprivileged login can neither fill nor move read-only directories,
		// which embed.FS has.
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
		return fmt.Errorf("%s is not a file, directory or symbolic link; Exclude can skip it", name)
	}
	s.entries = append(s.entries, e)
	return nil
}

// A sidecar is a small file sent beside a tree.
type sidecar struct{ name, content string }

// sidecars returns the sidecars of a tree, in the order to send them:
//
//   - n lists the names of the files, each followed by a NUL
//   - l, if needed, is a script that creates the symbolic links, for transfers
//     without links
//   - m, if needed, is a script that sets the special bits that chown clears
//   - h is the digest of all digests
//
// sums has the digest of each entry that is a file.
func (s *sourceTree) sidecars(sums []string, noLinks bool) []sidecar {
	var names, links, after strings.Builder
	all := sha256.New()
	for i, e := range s.entries {
		switch {
		case e.mode&fs.ModeSymlink != 0:
			if noLinks {
				fmt.Fprintf(&links, "ln -s %s %s || exit 1\n", quote(e.link), quote("./"+e.name))
			}
			continue
		case e.mode.IsRegular():
			names.WriteString("./" + e.name + "\x00")
			_, _ = fmt.Fprintf(all, "%s\n", sums[i])
		}
		if e.mode&specialBits != 0 {
			fmt.Fprintf(&after, "chmod %s %s || exit 1\n", octal(e.mode), quote("./"+e.name))
		}
	}
	sidecars := []sidecar{{"n", names.String()}}
	if links.Len() > 0 {
		sidecars = append(sidecars, sidecar{"l", links.String()})
	}
	if after.Len() > 0 {
		sidecars = append(sidecars, sidecar{"m", after.String()})
	}
	return append(sidecars, sidecar{"h", hexDigest(all)})
}

// treeScripts generates the parts of a script that writes a tree. The tree arrives
// in the subdirectory "t" of the staging directory, beside its sidecar files.
type treeScripts struct {
	dest   string
	tag    string
	upload string // where the tree arrives; empty for the staging directory
	login  string // owner of upload
	uid    int    // of the login
	root   fs.FileMode
	owner  string
	hasher string
	xargs  bool

	newlines bool // in names
}

// begin creates the staging directory: inside dest if that exists, since dest must
// be writable and is on the same file system, or else beside it.
func (t *treeScripts) begin() string {
	var b strings.Builder
	fmt.Fprintf(&b, "d=%s\n", quote(t.dest))
	b.WriteString(checkLinks(t.uid, t.dest))
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
	// Writes still in progress over SFTP can make the first rm fail.
	b.WriteString(trapCleanUp(`rm -rf "$s" "$w" || { sleep 1; rm -rf "$s" "$w"; }`))
	b.WriteString(`(umask 077; mkdir "$s" && if [ "$w" != "$s" ]; then mkdir "$w"; fi && mkdir "$w/t") || exit 1` + "\n")
	if t.upload != "" {
		fmt.Fprintf(&b, "chown -R %s \"$w\" || exit 1\n", quote(t.login))
	}
	return b.String()
}

// end verifies the tree, sets owners and moves it into place. The sidecar "h"
// arrives last, so without it the transfer is incomplete.
func (t *treeScripts) end() string {
	var b strings.Builder
	b.WriteString(`if [ ! -f "$w/h" ]; then echo "transfer incomplete" >&2; exit 1; fi` + "\n")
	b.WriteString(`if [ "$w" != "$s" ]; then mv "$w"/* "$s/" || exit 1; fi` + "\n")
	if t.hasher != "" && t.xargs {
		b.WriteString(`v=$(cd "$s/t" && ` + digestOfDigests(t.hasher, t.newlines) + " <../n)\n")
		b.WriteString(`if [ "$v" != "$(cat "$s/h")" ]; then echo "digest mismatch: $v" >&2; exit 1; fi` + "\n")
	}
	// "l" creates links if the transfer cannot, "m" sets bits that chown clears.
	const script = `if [ -f "$s/%[1]s" ]; then (cd "$s/t" && . ../%[1]s) || exit 1; fi` + "\n"
	fmt.Fprintf(&b, script, "l")
	owner := t.owner
	if owner == "" && t.upload != "" {
		owner = "0:0"
	}
	// In a set-gid directory, only some transfers pass the bit and the group on.
	b.WriteString("set -- $(ls -ldn \"$s/t\")\n" + `case $1 in ??????[sS]*) chmod -R g-s "$s/t" || exit 1;; esac` + "\n")
	if owner == "" {
		b.WriteString(`if [ "$4" != "$(id -g)" ]; then chown -hR ":$(id -g)" "$s/t" || exit 1; fi` + "\n")
	} else {
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

// mergeScript defines the shell function merge FROM TO, which moves the contents of
// one directory into another, merging directories that exist in both, also through
// links that the shell function follow permits. move is the
// command that moves the NUL-separated names on its input; if empty, mv is called
// for each.
func mergeScript(move string) string {
	const each = `for e in * .[!.]* ..?*; do if [ -e "$e" ] || [ -L "$e" ]; then `
	script := "merge() (\ncd \"$1\" || exit 1\n" +
		each + `if [ -d "$e" ] && [ ! -L "$e" ] && [ -d "$2/$e" ]; then follow "$2/$e" && merge "$1/$e" "$2/$e" && rmdir "$1/$e" || exit 1; fi; fi; done` + "\n"
	if move == "" {
		return script + each + `mv -f "./$e" "$2/" || exit 1; fi; done` + "\n)\n"
	}
	return script + each + `printf '%s\0' "./$e"; fi; done | ` + move + "\n)\n"
}
