package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// modeOf converts the mode bits of chmod(2) to an fs.FileMode.
func modeOf(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	if bits&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if bits&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if bits&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// bitsOf is the reverse of modeOf.
func bitsOf(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}

// parseMode applies an octal or symbolic mode to a file's old mode.
func parseMode(spec string, old fs.FileMode, dir bool, umask fs.FileMode) (fs.FileMode, error) {
	if bits, err := strconv.ParseUint(spec, 8, 32); err == nil {
		if bits > 0o7777 {
			return 0, fmt.Errorf("invalid mode: %s", quote(spec))
		}
		mode := modeOf(uint32(bits))
		if dir && len(spec) <= 4 { // chmod preserves these bits for a directory
			mode |= old & (fs.ModeSetuid | fs.ModeSetgid)
		}
		return mode, nil
	}
	bits := bitsOf(old)
	for clause := range strings.SplitSeq(spec, ",") {
		var ok bool
		if bits, ok = symbolicMode(clause, bits, dir, uint32(umask.Perm())); !ok {
			return 0, fmt.Errorf("invalid mode: %s", quote(spec))
		}
	}
	return modeOf(bits), nil
}

func symbolicMode(clause string, bits uint32, dir bool, umask uint32) (uint32, bool) {
	at := strings.IndexAny(clause, "+-=")
	if at < 0 {
		return 0, false
	}
	who, limit := uint32(0), ^uint32(0)
	for _, c := range clause[:at] {
		switch c {
		case 'u':
			who |= 0o4700
		case 'g':
			who |= 0o2070
		case 'o':
			who |= 0o1007
		case 'a':
			who |= 0o7777
		default:
			return 0, false
		}
	}
	if at == 0 {
		who, limit = 0o7777, ^umask
	}
	for rest := clause[at:]; rest != ""; {
		op := rest[0]
		end := strings.IndexAny(rest[1:], "+-=")
		letters := rest[1:]
		if end >= 0 {
			letters = rest[1 : 1+end]
		}
		rest = rest[1+len(letters):]
		perm, ok := permLetters(letters, bits, dir)
		if !ok {
			return 0, false
		}
		perm &= who & limit
		switch op {
		case '+':
			bits |= perm
		case '-':
			bits &^= perm
		default:
			keep := uint32(0)
			if dir {
				keep = bits & 0o6000
			}
			bits = bits&^who | perm | keep
		}
	}
	return bits, true
}

func permLetters(letters string, bits uint32, dir bool) (uint32, bool) {
	perm := uint32(0)
	for _, c := range letters {
		switch c {
		case 'r':
			perm |= 0o444
		case 'w':
			perm |= 0o222
		case 'x':
			perm |= 0o111
		case 'X':
			if dir || bits&0o111 != 0 {
				perm |= 0o111
			}
		case 's':
			perm |= 0o6000
		case 't':
			perm |= 0o1000
		case 'u':
			perm |= bits >> 6 & 7 * 0o111
		case 'g':
			perm |= bits >> 3 & 7 * 0o111
		case 'o':
			perm |= bits & 7 * 0o111
		default:
			return 0, false
		}
	}
	return perm, true
}

// tree calls do for a file and, if recursive, all files below it.
func (p *Process) tree(file string, recursive bool, do func(file string, info *memfs.Info) error) error {
	if recursive {
		return p.walk(file, do)
	}
	info, err := p.FS.Lstat(file)
	if err != nil {
		return err
	}
	return do(file, info)
}

func chmod(_ context.Context, p *Process) int {
	// Rewrite a mode like -x, which looks like a flag.
	args := make([]string, 1, len(p.Args))
	args[0] = p.Args[0]
	for _, arg := range p.Args[1:] {
		if len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "rwxXst") == "" {
			arg = "a" + arg
		}
		args = append(args, arg)
	}
	p.Args = args
	o, names, bad := p.options("Rfv", "verbose=v", "recursive=R", "reference=r:", "silent=f", "quiet=f", "preserve-root=q")
	if bad != 0 {
		return bad
	}
	spec := ""
	if ref, ok := o.value("r"); ok {
		info, err := p.FS.Stat(p.Path(ref))
		if err != nil {
			return p.fail(1, "failed to get attributes of %s: %s", quote(ref), errText(err))
		}
		spec = strconv.FormatUint(uint64(bitsOf(info.Mode())), 8)
	} else if len(names) > 0 {
		spec, names = names[0], names[1:]
	}
	if _, err := parseMode(spec, 0, false, 0); err != nil {
		return p.tryHelp("invalid mode: %s", p.quote(spec))
	}
	return p.each(names, "cannot access", func(file string) error {
		return p.tree(file, o.on("R"), func(file string, info *memfs.Info) error {
			if info.Mode()&fs.ModeSymlink != 0 {
				if o.on("R") {
					return nil
				}
				var err error
				if info, err = p.FS.Stat(file); err != nil {
					return err
				}
			}
			mode, err := parseMode(spec, info.Mode(), info.IsDir(), p.Umask)
			if err != nil {
				return err
			}
			if err := p.FS.Chmod(file, mode); err != nil {
				return err
			}
			if o.on("v") || bitsOf(mode) != bitsOf(info.Mode()) {
				p.sayMode(o, p.shown(file, names), info.Mode(), mode)
			}
			return nil
		})
	})
}

func chown(_ context.Context, p *Process) int { return p.changeOwner(parseOwner) }

func chgrp(_ context.Context, p *Process) int {
	return p.changeOwner(func(disk *memfs.FS, spec string) (int, int, string) {
		gid, ok := parseGroup(disk, spec)
		if !ok {
			return -1, -1, "invalid group: " + quote(spec)
		}
		return -1, gid, ""
	})
}

func (p *Process) changeOwner(parse func(*memfs.FS, string) (int, int, string)) int {
	o, names, bad := p.options("RhfvHLP", "recursive=R", "no-dereference=h", "reference=r:", "silent=f")
	if bad != 0 {
		return bad
	}
	if o.on("L") || o.on("H") {
		return p.fail(2, "options -H and -L are not supported by this machine")
	}
	uid, gid := -1, -1
	if ref, ok := o.value("r"); ok {
		info, err := p.FS.Stat(p.Path(ref))
		if err != nil {
			return p.fail(1, "failed to get attributes of %s: %s", quote(ref), errText(err))
		}
		uid, gid = info.UID(), info.GID()
	} else if len(names) > 0 {
		var unknown string
		if uid, gid, unknown = parse(p.FS, names[0]); unknown != "" {
			if kind, value, ok := strings.Cut(unknown, ": '"); ok {
				unknown = kind + ": " + p.quote(strings.TrimSuffix(value, "'"))
			}
			return p.fail(1, "%s", unknown)
		}
		names = names[1:]
	}
	return p.each(names, "changing ownership of", func(file string) error {
		return p.tree(file, o.on("R"), func(file string, info *memfs.Info) error {
			if info.Mode()&fs.ModeSymlink != 0 && (o.on("h") || o.on("R")) {
				return p.FS.Lchown(file, uid, gid)
			}
			err := p.FS.Chown(file, uid, gid)
			if err != nil && o.on("f") && !errors.Is(err, fs.ErrPermission) {
				return nil
			}
			return err
		})
	})
}
