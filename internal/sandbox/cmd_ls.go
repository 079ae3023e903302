package sandbox

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// longMode formats a mode like ls -l.
func longMode(mode fs.FileMode) string {
	b := []byte("-rwxrwxrwx")
	switch {
	case mode.IsDir():
		b[0] = 'd'
	case mode&fs.ModeSymlink != 0:
		b[0] = 'l'
	case mode&fs.ModeCharDevice != 0:
		b[0] = 'c'
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[1+i] = '-'
		}
	}
	special := func(at int, bit fs.FileMode, set, without byte) {
		if mode&bit == 0 {
			return
		}
		if b[at] == 'x' {
			b[at] = set
		} else {
			b[at] = without
		}
	}
	special(3, fs.ModeSetuid, 's', 'S')
	special(6, fs.ModeSetgid, 's', 'S')
	special(9, fs.ModeSticky, 't', 'T')
	return string(b)
}

func ls(_ context.Context, p *Process) int {
	o, names, bad := p.options("laA1dRhtrnFi", "all=a", "almost-all=A", "directory=d", "recursive=R", "color=c:", "numeric-uid-gid=n", "reverse=r")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	l := lister{p: p, o: o, long: o.on("l") || o.on("n")}
	var dirs []string
	for _, name := range names {
		info, err := p.FS.Lstat(p.Path(name))
		if err == nil && !l.long {
			if target, statErr := p.FS.Stat(p.Path(name)); statErr == nil {
				info = target
			}
		}
		switch {
		case err != nil:
			l.status = p.fail(2, "cannot access %s: %s", quote(name), errText(err))
		case info.IsDir() && !o.on("d"):
			dirs = append(dirs, name)
		default:
			l.show(name, p.Path(name), info)
		}
	}
	for _, dir := range dirs {
		l.dir(dir, len(names) > 1 || o.on("R"))
	}
	return l.status
}

type lister struct {
	p      *Process
	o      opts
	long   bool
	status int
	shown  int
}

type listed struct {
	name string
	info *memfs.Info
}

func (l *lister) dir(name string, titled bool) {
	full := l.p.Path(name)
	entries, err := l.p.FS.ReadDir(full)
	if err != nil {
		l.status = l.p.fail(2, "cannot open directory %s: %s", quote(name), errText(err))
		return
	}
	if titled {
		if l.shown > 0 {
			l.p.print("\n")
		}
		l.p.print(name, ":\n")
		l.shown++
	}
	var all []listed
	if l.o.on("a") {
		for _, dots := range []string{".", ".."} {
			if info, err := l.p.FS.Stat(full + "/" + dots); err == nil {
				all = append(all, listed{dots, info})
			}
		}
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && !l.o.on("a") && !l.o.on("A") {
			continue
		}
		if info, err := l.p.FS.Lstat(full + "/" + e.Name()); err == nil {
			all = append(all, listed{e.Name(), info})
		}
	}
	if l.o.on("t") {
		slices.SortStableFunc(all, func(a, b listed) int { return b.info.ModTime().Compare(a.info.ModTime()) })
	}
	if l.o.on("r") {
		slices.Reverse(all)
	}
	if l.long {
		blocks := int64(0)
		for _, e := range all {
			blocks += (e.info.Size() + 4095) / 4096 * 4
		}
		fprintf(l.p.Stdout, "total %d\n", blocks)
	}
	for _, e := range all {
		l.show(e.name, full+"/"+e.name, e.info)
	}
	for _, e := range all {
		if l.o.on("R") && e.info.IsDir() && e.name != "." && e.name != ".." {
			l.dir(entryPath(name, e.name), true)
		}
	}
}

func (l *lister) show(name, full string, info *memfs.Info) {
	l.shown++
	if l.o.on("i") {
		fprintf(l.p.Stdout, "%d ", info.Ino())
	}
	suffix := ""
	if l.o.on("F") {
		suffix = indicator(info.Mode())
	}
	if !l.long {
		l.p.print(name, suffix, "\n")
		return
	}
	owner, group := userName(l.p.FS, info.UID()), groupName(l.p.FS, info.GID())
	if l.o.on("n") {
		owner, group = itoa(info.UID()), itoa(info.GID())
	}
	size := itoa(int(info.Size()))
	if l.o.on("h") {
		size = human(info.Size())
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err := l.p.FS.Readlink(full); err == nil {
			suffix = " -> " + target
		}
	}
	fprintf(l.p.Stdout, "%s %d %s %s %s %s %s%s\n", longMode(info.Mode()), info.Nlink(), owner, group, size,
		info.ModTime().UTC().Format("Jan _2 15:04"), name, suffix)
}

func indicator(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "/"
	case mode&fs.ModeSymlink != 0:
		return "@"
	case mode.Perm()&0o111 != 0:
		return "*"
	}
	return ""
}

func human(n int64) string {
	size, unit := float64(n), ""
	for _, next := range []string{"K", "M", "G", "T"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, next
	}
	if unit == "" || size >= 10 {
		return fmt.Sprintf("%.0f%s", size, unit)
	}
	return fmt.Sprintf("%.1f%s", size, unit)
}

// du counts the sizes of files, not the blocks they occupy.
func du(_ context.Context, p *Process) int {
	o, names, bad := p.options("skhbmc", "summarize=s", "bytes=b", "human-readable=h", "total=c", "apparent-size=A")
	if bad != 0 {
		return bad
	}
	if len(names) == 0 {
		names = []string{"."}
	}
	amount := func(n int64) string {
		switch {
		case o.on("b"):
			return itoa(int(n))
		case o.on("h"):
			return human(n)
		case o.on("m"):
			return itoa(int((n + 1<<20 - 1) >> 20))
		}
		return itoa(int((n + 1023) >> 10))
	}
	status, all := 0, int64(0)
	var count func(name string, top bool) int64
	count = func(name string, top bool) int64 {
		info, err := p.FS.Lstat(p.Path(name))
		if err != nil {
			status = p.fail(1, "cannot access %s: %s", quote(name), errText(err))
			return 0
		}
		total := info.Size()
		if info.IsDir() {
			entries, err := p.FS.ReadDir(p.Path(name))
			if err != nil {
				status = p.fail(1, "cannot read directory %s: %s", quote(name), errText(err))
			}
			for _, e := range entries {
				total += count(name+"/"+e.Name(), false)
			}
		}
		if top || info.IsDir() && !o.on("s") {
			p.print(amount(total), "\t", name, "\n")
		}
		return total
	}
	for _, name := range names {
		all += count(name, true)
	}
	if o.on("c") {
		p.print(amount(all), "\ttotal\n")
	}
	return status
}
