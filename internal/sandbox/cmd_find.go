package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// finder is a run of find.
type finder struct {
	p                   *Process
	hasAction           bool // an explicit action was given
	min, max            int
	depth               bool // visit entries before their directory
	follow, followRoots bool // symbolic links
	batches             []*batch
	extended            bool // regular expressions after -regextype
	status              int
}

type found struct {
	name  string
	full  string
	info  *memfs.Info
	depth int
	prune bool
}

// batch collects the names for -exec … +.
type batch struct {
	args, names []string
}

const (
	anyDepth    = 1 << 30
	maxFollowed = 40 // of symbolic links in a circle
)

func find(ctx context.Context, p *Process) int {
	args, roots := p.Args[1:], []string{}
	follow := ""
	for len(args) > 0 && (args[0] == "-L" || args[0] == "-H" || args[0] == "-P") {
		follow, args = args[0], args[1:]
	}
	for len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "!" && args[0] != "(" {
		roots, args = append(roots, args[0]), args[1:]
	}
	if len(roots) == 0 {
		roots = []string{"."}
	}
	f := &finder{p: p, max: anyDepth, follow: follow == "-L", followRoots: follow == "-H"}
	test, rest, err := f.or(ctx, args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected %q", rest[0])
	}
	if err != nil {
		return p.fail(1, "%v", err)
	}
	if test == nil {
		test = func(*found) bool { return true }
	}
	if !f.hasAction {
		plain := test
		test = func(at *found) bool { return plain(at) && p.print(at.name, "\n") }
	}
	for _, name := range roots {
		f.visit(&found{name: name, full: p.Path(name)}, test)
	}
	for _, b := range f.batches {
		if len(b.names) > 0 && p.child(append(b.args, b.names...)).exec(ctx) != 0 {
			f.status = 1
		}
	}
	return f.status
}

func (f *finder) visit(at *found, test func(*found) bool) {
	info, err := f.p.FS.Lstat(at.full)
	if err == nil && (f.follow || f.followRoots && at.depth == 0) && at.depth < maxFollowed {
		if target, targetErr := f.p.FS.Stat(at.full); targetErr == nil {
			info = target
		}
	}
	if err != nil {
		if at.depth == 0 || !errors.Is(err, fs.ErrNotExist) {
			f.status = f.p.fail(1, "%s: %s", quote(at.name), errText(err))
		}
		return
	}
	at.info = info
	if !f.depth && at.depth >= f.min {
		test(at)
	}
	if info.IsDir() && !at.prune && at.depth < f.max {
		entries, err := f.p.FS.ReadDir(at.full)
		if err != nil {
			f.status = f.p.fail(1, "%s: %s", quote(at.name), errText(err))
		}
		for _, e := range entries {
			f.visit(&found{
				name: entryPath(at.name, e.Name()), full: entryPath(at.full, e.Name()),
				depth: at.depth + 1,
			}, test)
		}
	}
	if f.depth && at.depth >= f.min {
		test(at)
	}
}

type findTest = func(*found) bool

func (f *finder) or(ctx context.Context, args []string) (findTest, []string, error) {
	left, args, err := f.and(ctx, args)
	for err == nil && len(args) > 0 && (args[0] == "-o" || args[0] == "-or") {
		if left == nil {
			return nil, nil, errors.New("missing expression before -o")
		}
		var right findTest
		if right, args, err = f.and(ctx, args[1:]); right == nil {
			return nil, nil, errors.Join(err, errors.New("missing expression after -o"))
		}
		a := left
		left = func(at *found) bool { return a(at) || right(at) }
	}
	return left, args, err
}

func (f *finder) and(ctx context.Context, args []string) (findTest, []string, error) {
	var all findTest
	for len(args) > 0 && args[0] != "-o" && args[0] != "-or" && args[0] != ")" {
		if args[0] == "-a" || args[0] == "-and" {
			args = args[1:]
			continue
		}
		next, rest, err := f.term(ctx, args)
		if err != nil {
			return nil, nil, err
		}
		args = rest
		if before := all; before == nil {
			all = next
		} else {
			all = func(at *found) bool { return before(at) && next(at) }
		}
	}
	return all, args, nil
}

func (f *finder) term(ctx context.Context, args []string) (findTest, []string, error) {
	switch args[0] {
	case "!", "-not":
		if len(args) < 2 {
			return nil, nil, errors.New("missing expression after '!'")
		}
		inner, rest, err := f.term(ctx, args[1:])
		return func(at *found) bool { return !inner(at) }, rest, err
	case "(":
		inner, rest, err := f.or(ctx, args[1:])
		if err == nil && inner == nil {
			err = errors.New("empty parentheses")
		}
		if err == nil && (len(rest) == 0 || rest[0] != ")") {
			err = errors.New("missing )")
		}
		if err != nil {
			return nil, nil, err
		}
		return inner, rest[1:], nil
	case "-exec", "-execdir":
		return f.exec(ctx, args[0], args[1:])
	case "-regextype":
		if len(args) < 2 {
			return nil, nil, errors.New("missing argument to '-regextype'")
		}
		f.extended = strings.Contains(args[1], "extended") || strings.Contains(args[1], "egrep") || strings.Contains(args[1], "awk")
		return func(*found) bool { return true }, args[2:], nil
	}
	if test, ok := f.plain(args[0]); ok {
		return test, args[1:], nil
	}
	if len(args) < 2 {
		return nil, nil, fmt.Errorf("%s: unknown predicate or missing argument", args[0])
	}
	test, err := f.valued(args[0], args[1])
	return test, args[2:], err
}

// plain parses a test or action without an argument.
func (f *finder) plain(name string) (findTest, bool) {
	always := func(*found) bool { return true }
	switch name {
	case "-print":
		f.hasAction = true
		return func(at *found) bool { return f.p.print(at.name, "\n") }, true
	case "-print0":
		f.hasAction = true
		return func(at *found) bool { return f.p.print(at.name, "\x00") }, true
	case "-delete":
		f.hasAction, f.depth = true, true
		return func(at *found) bool {
			if err := f.p.FS.Remove(at.full); err != nil {
				f.status = f.p.fail(1, "cannot delete %s: %s", quote(at.name), errText(err))
				return false
			}
			return true
		}, true
	case "-depth":
		f.depth = true
		return always, true
	case "-xdev", "-mount", "-noleaf", "-true", "-daystart":
		return always, true
	case "-false":
		return func(*found) bool { return false }, true
	case "-readable":
		return func(at *found) bool { return f.p.FS.Access(at.full, memfs.Read) == nil }, true
	case "-writable":
		return func(at *found) bool { return f.p.FS.Access(at.full, memfs.Write) == nil }, true
	case "-executable":
		return func(at *found) bool { return f.p.FS.Access(at.full, memfs.Execute) == nil }, true
	case "-nouser":
		return func(at *found) bool { _, ok := lookupUID(f.p.FS, at.info.UID()); return !ok }, true
	case "-nogroup":
		return func(at *found) bool { _, ok := lookupGID(f.p.FS, at.info.GID()); return !ok }, true
	case "-prune":
		return func(at *found) bool { at.prune = true; return true }, true
	case "-quit":
		return func(*found) bool { f.max = -1; return true }, true
	case "-empty":
		return func(at *found) bool {
			if at.info.IsDir() {
				all, err := f.p.FS.ReadDir(at.full)
				return err == nil && len(all) == 0
			}
			return at.info.Mode().IsRegular() && at.info.Size() == 0
		}, true
	}
	return nil, false
}

// valued parses a test with an argument.
func (f *finder) valued(name, value string) (findTest, error) {
	switch name {
	case "-name", "-iname", "-path", "-ipath", "-wholename":
		fold := strings.HasPrefix(name, "-i")
		whole := !strings.HasSuffix(name, "-name") && !strings.HasSuffix(name, "iname") || name == "-wholename"
		re, err := compile(globExpression(value), true, false, fold)
		return func(at *found) bool {
			if whole {
				return re.MatchString(at.name)
			}
			return re.MatchString(path.Base(at.name))
		}, err
	case "-type":
		return func(at *found) bool { return strings.Contains(value, fileType(at.info.Mode())) }, nil
	case "-maxdepth", "-mindepth":
		n, ok := number(value)
		if !ok {
			return nil, fmt.Errorf("%s %s: not a number", name, value)
		}
		if name == "-maxdepth" {
			f.max = n
		} else {
			f.min = n
		}
		return func(*found) bool { return true }, nil
	case "-user", "-group":
		uid, gid, unknown := parseOwner(f.p.FS, map[string]string{"-user": value, "-group": ":" + value}[name])
		if unknown != "" {
			return nil, errors.New(unknown)
		}
		return func(at *found) bool { return uid == at.info.UID() || gid == at.info.GID() }, nil
	case "-newer":
		info, err := f.p.FS.Stat(f.p.Path(value))
		if err != nil {
			return nil, fmt.Errorf("%s: %s", quote(value), errText(err))
		}
		return func(at *found) bool { return at.info.ModTime().After(info.ModTime()) }, nil
	case "-mtime", "-mmin":
		return f.age(name, value)
	case "-perm":
		return permTest(value)
	case "-size":
		return sizeTest(value)
	}
	return f.more(name, value)
}

func (f *finder) exec(ctx context.Context, name string, args []string) (findTest, []string, error) {
	f.hasAction = true
	for i, arg := range args {
		switch {
		case arg == ";":
			command := args[:i]
			return func(at *found) bool {
				run, file := make([]string, len(command)), at.name
				if name == "-execdir" {
					file = "./" + path.Base(at.name)
				}
				for j, word := range command {
					run[j] = strings.ReplaceAll(word, "{}", file)
				}
				c := f.p.child(run)
				if name == "-execdir" {
					c.Dir = path.Dir(at.full)
				}
				return c.exec(ctx) == 0
			}, args[i+1:], nil
		case arg == "+" && i > 0 && args[i-1] == "{}" && name == "-exec":
			b := &batch{args: append([]string(nil), args[:i-1]...)}
			f.batches = append(f.batches, b)
			return func(at *found) bool {
				b.names = append(b.names, at.name)
				return true
			}, args[i+1:], nil
		}
	}
	return nil, nil, errors.New("missing argument to " + quote(name))
}

func fileType(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "d"
	case mode&fs.ModeSymlink != 0:
		return "l"
	case mode&fs.ModeCharDevice != 0:
		return "c"
	case mode&fs.ModeDevice != 0:
		return "b"
	case mode&fs.ModeNamedPipe != 0:
		return "p"
	case mode&fs.ModeSocket != 0:
		return "s"
	}
	return "f"
}

// globExpression returns an extended regular expression for a file name pattern,
// in which * also matches slashes.
func globExpression(glob string) string {
	var b strings.Builder
	b.WriteByte('^')
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case c == '*':
			b.WriteString(".*")
		case c == '?':
			b.WriteByte('.')
		case c == '[':
			end := bracketEnd(glob, i)
			b.WriteString(strings.Replace(glob[i:end+1], "[!", "[^", 1))
			i = end
		case c == '\\' && i+1 < len(glob):
			i++
			b.WriteString(`\` + string(glob[i]))
		default:
			if strings.IndexByte(`.+(){}|^$`, c) >= 0 {
				b.WriteByte('\\')
			}
			b.WriteByte(c)
		}
	}
	return b.String() + "$"
}

// age returns the test of -mtime in days or -mmin in minutes.
func (f *finder) age(name, value string) (findTest, error) {
	unit := 24 * time.Hour
	if name == "-mmin" {
		unit = time.Minute
	}
	n, ok := number(strings.TrimLeft(value, "+-"))
	if !ok {
		return nil, fmt.Errorf("invalid argument %s to %s", quote(value), name)
	}
	now := f.p.Host.o.Clock.Now()
	return func(at *found) bool {
		have := int(now.Sub(at.info.ModTime()) / unit)
		switch value[0] {
		case '+':
			return have > n
		case '-':
			return have < n
		}
		return have == n
	}, nil
}
