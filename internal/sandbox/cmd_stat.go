package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

func stat(_ context.Context, p *Process) int {
	o, names, bad := p.options("c:L", "format=c:", "printf=p:", "dereference=L")
	if bad != 0 {
		return bad
	}
	format, ok := o.value("c")
	end := "\n"
	if !ok {
		if format, ok = o.value("p"); ok {
			format, end = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\0`, "\x00", `\\`, `\`).Replace(format), ""
		} else {
			format = "  File: \x00\n  Size: %-10s\tBlocks: %-10b IO Block: 4096   %F\nDevice: 259,1\tInode: %-11i Links: %h\n" +
				"Access: (%04a/%10A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)\nAccess: %x\nModify: %y\nChange: %y\n Birth: %y"
		}
	}
	if len(names) == 0 {
		return p.fail(1, "missing operand")
	}
	status := 0
	for _, name := range names {
		info, err := p.FS.Lstat(p.Path(name))
		if o.on("L") {
			info, err = p.FS.Stat(p.Path(name))
		}
		text := ""
		if err == nil {
			text, err = p.statText(format, name, info)
		}
		if err != nil {
			status = p.fail(1, "cannot statx %s: %s", quote(name), errText(err))
			continue
		}
		p.print(text, end)
	}
	return status
}

func (p *Process) statText(format, name string, info *memfs.Info) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] == 0 { // of the default format
			b.WriteString(shellFileName(name))
			if target, err := p.FS.Readlink(p.Path(name)); err == nil {
				b.WriteString(" -> " + shellFileName(target))
			}
			continue
		}
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		left := format[i] == '-'
		if left {
			i++
		}
		pad := format[i : i+digits(format[i:])]
		if i += len(pad); i == len(format) {
			return "", errors.New("format ends in a number")
		}
		text, ok := p.statField(format[i], name, info)
		if !ok {
			return "", fmt.Errorf("format %%%c is not supported by this machine", format[i])
		}
		if n, ok := number(pad); ok && len(text) < min(n, maxWidth) {
			switch fill := strings.Repeat(" ", n-len(text)); {
			case left:
				text += fill
			case strings.HasPrefix(pad, "0"):
				text = padLeft(text, n)
			default:
				text = fill + text
			}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (p *Process) statField(field byte, name string, info *memfs.Info) (string, bool) {
	switch field {
	case 'a':
		return fmt.Sprintf("%o", bitsOf(info.Mode())), true
	case 'A':
		return longMode(info.Mode()), true
	case 'U':
		return userName(p.FS, info.UID()), true
	case 'G':
		return groupName(p.FS, info.GID()), true
	case 'u':
		return itoa(info.UID()), true
	case 'g':
		return itoa(info.GID()), true
	case 's':
		return itoa(int(info.Size())), true
	case 'n':
		return name, true
	case 'N':
		if target, err := p.FS.Readlink(p.Path(name)); err == nil {
			return quote(name) + " -> " + quote(target), true
		}
		return quote(name), true
	case 'F':
		return fileDescription(info), true
	case 'Y':
		return itoa(int(info.ModTime().Unix())), true
	case 'X':
		return itoa(int(info.AccessTime().Unix())), true
	case 'x':
		return info.AccessTime().UTC().Format("2006-01-02 15:04:05.000000000 -0700"), true
	case 'Z':
		return itoa(int(info.ModTime().Unix())), true
	case 'z', 'w':
		return info.ModTime().UTC().Format("2006-01-02 15:04:05.000000000 -0700"), true
	case 'W':
		return itoa(int(info.ModTime().Unix())), true
	case 'f':
		return hexOf(int(unixMode(info))), true
	case 'o':
		return "4096", true
	case 'm':
		return "/", true
	case 'y':
		return info.ModTime().UTC().Format("2006-01-02 15:04:05.000000000 -0700"), true
	case 'i':
		return itoa(int(info.Ino())), true //nolint:gosec // a small number
	case 'h':
		return itoa(info.Nlink()), true
	case 'b':
		return itoa(int((info.Size() + 511) / 512)), true
	case 'B':
		return "512", true
	case '%':
		return "%", true
	}
	return "", false
}

// shellFileName quotes a file name if a shell would need it.
func shellFileName(name string) string {
	if name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_") == "" {
		return name
	}
	return quote(name)
}

// unixMode returns the mode of a file with its type, as in st_mode.
func unixMode(info *memfs.Info) uint32 {
	kind := map[string]uint32{"d": 0o040000, "l": 0o120000, "c": 0o020000, "b": 0o060000, "p": 0o010000, "s": 0o140000, "f": 0o100000}
	return kind[fileType(info.Mode())] | bitsOf(info.Mode())
}

func fileDescription(info *memfs.Info) string {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeCharDevice != 0:
		return "character special file"
	case info.Size() == 0:
		return "regular empty file"
	}
	return "regular file"
}

func readlink(_ context.Context, p *Process) int {
	o, names, bad := p.options("femnsq", "canonicalize=f", "canonicalize-existing=e", "canonicalize-missing=m", "no-newline=n", "quiet=q")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 {
		return p.fail(1, "missing operand")
	}
	status := 0
	for _, name := range names {
		text, err := p.FS.Readlink(p.Path(name))
		if o.last("fem") != "" {
			text, err = p.canonical(name, o.last("fem"))
		}
		if err != nil {
			status = 1
			continue
		}
		p.print(text)
		if !o.on("n") {
			p.print("\n")
		}
	}
	return status
}

func realpath(_ context.Context, p *Process) int {
	o, names, bad := p.options("emsq", "relative-to=R:", "canonicalize-existing=e", "canonicalize-missing=m", "strip=s", "no-symlinks=s", "quiet=q")
	if bad != 0 {
		return bad
	}
	status := 0
	for _, name := range names {
		text, err := p.canonical(name, o.last("em"))
		if o.on("s") {
			text, err = path.Clean(p.Path(name)), nil
		}
		if err != nil {
			status = 1
			if !o.on("q") {
				p.fail(1, "%s: %s", name, errText(err))
			}
			continue
		}
		if from, ok := o.value("R"); ok {
			text = p.relative(text, p.Path(from))
		}
		p.print(text, "\n")
	}
	return status
}

// canonical resolves name. If how is "e", all elements must exist; if it is "m",
// none must; otherwise the last may be missing.
func (p *Process) canonical(name, how string) (string, error) {
	if name == "" {
		return "", fs.ErrNotExist
	}
	full := p.Path(name)
	text, err := p.FS.EvalSymlinks(full)
	if !errors.Is(err, fs.ErrNotExist) || how == "e" {
		return text, err
	}
	if target, linkErr := p.FS.Readlink(full); linkErr == nil {
		if !path.IsAbs(target) {
			target = path.Dir(full) + "/" + target
		}
		return p.canonical(target, how)
	}
	full = strings.TrimRight(full, "/")
	dir, err := p.FS.EvalSymlinks(path.Dir(full))
	if err != nil && how == "m" {
		dir, err = p.canonical(path.Dir(full), how)
	}
	return path.Join(dir, path.Base(full)), err
}

func basename(_ context.Context, p *Process) int {
	o, names, bad := p.options("as:z", "multiple=a", "suffix=s:")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 {
		return p.fail(1, "missing operand")
	}
	suffix, multiple := o.value("s")
	if !multiple && !o.on("a") && len(names) > 1 {
		suffix, names = names[1], names[:1]
	}
	for _, name := range names {
		base := path.Base(name)
		if base != suffix {
			base = strings.TrimSuffix(base, suffix)
		}
		p.print(base, "\n")
	}
	return 0
}

func dirname(_ context.Context, p *Process) int {
	_, names, bad := p.options("")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 {
		return p.fail(1, "missing operand")
	}
	for _, name := range names {
		name = strings.TrimRight(name, "/")
		if name == "" {
			name = "/"
		}
		p.print(path.Dir(name), "\n")
	}
	return 0
}

func mktemp(_ context.Context, p *Process) int {
	o, names, bad := p.options("dp:tuq", "directory=d", "tmpdir=p:", "suffix=s:", "dry-run=u")
	if bad != 0 {
		return bad
	}
	template, inDir := "tmp.XXXXXXXXXX", len(names) == 0
	if len(names) > 0 {
		template = names[0]
	}
	dir, given := o.value("p")
	inDir = inDir || given || o.on("t")
	if dir == "" {
		if dir = p.Env["TMPDIR"]; dir == "" {
			dir = "/tmp"
		}
	}
	suffix, _ := o.value("s")
	stem := strings.TrimRight(template, "X")
	if len(template)-len(stem) < 3 {
		if at := strings.LastIndex(template, "XXX"); at >= 0 {
			suffix = template[at+3:] + suffix
			template = template[:at+3]
			stem = strings.TrimRight(template, "X")
		} else {
			return p.fail(1, "too few X's in template %s", p.quote(template))
		}
	}
	for {
		name := stem + rand.Text()[:len(template)-len(stem)] + suffix
		if inDir {
			name = entryPath(dir, name)
		}
		var err error
		switch {
		case o.on("u"):
		case o.on("d"):
			err = p.FS.Mkdir(p.Path(name), 0o700)
		default:
			var f *memfs.File
			if f, err = p.FS.OpenFile(p.Path(name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err == nil {
				_ = f.Close()
			}
		}
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return p.fail(1, "failed to create file via template %s: %s", quote(template), errText(err))
		}
		p.print(name, "\n")
		return 0
	}
}
