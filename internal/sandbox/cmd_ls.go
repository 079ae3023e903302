package sandbox

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

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
	o, names, bad := p.options("laA1dRhtrnFiS", "time-style=T:", "human-readable=h", "inode=i", "classify=F", "all=a", "almost-all=A", "directory=d", "recursive=R", "color=c:", "numeric-uid-gid=n", "reverse=r")
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
	if l.o.on("S") {
		slices.SortStableFunc(all, func(a, b listed) int { return int(b.info.Size() - a.info.Size()) })
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
		l.date(info.ModTime()), name, suffix)
}

// date formats the time of a file as --time-style asks for. By default it shows the year
// of a file that is older than half a year.
func (l *lister) date(t time.Time) string {
	t = l.p.local(t, false)
	const recent = 31556952 / 2 * time.Second
	style, _ := l.o.value("T")
	now := l.p.Host.o.Clock.Now()
	switch format, own := strings.CutPrefix(style, "+"); {
	case own:
		text, err := strftime(format, t)
		if err != nil {
			l.status = l.p.fail(2, "%v", err)
		}
		return text
	case style == "long-iso":
		return t.Format("2006-01-02 15:04")
	case style == "full-iso":
		return t.Format("2006-01-02 15:04:05.000000000 -0700")
	case style == "iso" && now.Sub(t) < recent:
		return t.Format("01-02 15:04")
	case style == "iso":
		return t.Format("2006-01-02 ")
	case t.After(now) || now.Sub(t) > recent:
		return t.Format("Jan _2  2006")
	}
	return t.Format("Jan _2 15:04")
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
	o, names, bad := p.options("skhbmcad:", "all=a", "max-depth=d:", "summarize=s", "bytes=b", "human-readable=h", "total=c", "apparent-size=A")
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
	deepest := math.MaxInt
	if text, ok := o.value("d"); ok {
		if deepest, ok = number(text); !ok {
			return p.tryHelp("invalid maximum depth %s", p.quote(text))
		}
	}
	if o.on("s") {
		deepest = 0
	}
	var count func(name string, depth int) int64
	count = func(name string, depth int) int64 {
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
				total += count(entryPath(name, e.Name()), depth+1)
			}
		}
		if depth == 0 || (info.IsDir() || o.on("a")) && depth <= deepest {
			p.print(amount(total), "\t", name, "\n")
		}
		return total
	}
	for _, name := range names {
		all += count(name, 0)
	}
	if o.on("c") {
		p.print(amount(all), "\ttotal\n")
	}
	return status
}
