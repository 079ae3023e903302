package sandbox

import (
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// echo implements the echo builtin; dash's interprets backslashes without a flag.
func (r *runner) echo(args []string) {
	args = args[1:]
	newline, escapes := true, r.dash || r.shopts["xpg_echo"]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.Trim(args[0][1:], map[bool]string{true: "n", false: "neE"}[r.dash]) == "" {
		for _, c := range args[0][1:] {
			switch c {
			case 'n':
				newline = false
			default:
				escapes = c == 'e'
			}
		}
		args = args[1:]
		if r.dash {
			break
		}
	}
	text := strings.Join(args, " ")
	if escapes && strings.Contains(text, `\`) {
		f := &formatter{p: r.p}
		for i := 0; i < len(text) && !f.stop; i++ {
			if text[i] == '\\' {
				i += f.escape(text[i+1:], true)
			} else {
				f.out.WriteByte(text[i])
			}
		}
		text = f.out.String()
		newline = newline && !f.stop
	}
	if newline {
		text += "\n"
	}
	r.print(text)
}

func (r *runner) printf(args []string) {
	if len(args) > 2 && args[1] == "-v" && !r.dash {
		name, index, element := strings.Cut(args[2], "[")
		p := r.goProcess(append([]string{"printf"}, args[3:]...))
		var b strings.Builder
		p.Stdout = &b
		r.status = printf(r.ctx, p)
		if !validName(name) {
			r.fail(2, "printf: `%s': not a valid identifier", args[2])
		} else if element {
			r.assignElement(name, strings.TrimSuffix(index, "]"), b.String())
		} else {
			r.assign(name, b.String())
		}
		return
	}
	r.status = printf(r.ctx, r.goProcess(args))
}

// reading are the flags of read.
type reading struct {
	raw, array, exact, silent bool
	delim                     byte
	count                     int // characters; -1 is no limit
	timeout                   time.Duration
	timed                     bool
	fd                        int
	names                     []string
}

func (r *runner) readFlags(args []string) (reading, bool) {
	f := reading{delim: '\n', count: -1}
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			break
		}
		for i := 1; i < len(arg); i++ {
			c := arg[i]
			value := ""
			if strings.IndexByte("dinNptua", c) >= 0 {
				switch {
				case i+1 < len(arg):
					value = arg[i+1:]
				case len(args) > 0:
					value, args = args[0], args[1:]
				default:
					r.fail(2, "read: -%c: option requires an argument", c)
					return f, false
				}
				i = len(arg)
			}
			ok := true
			switch c {
			case 'r':
				f.raw = true
			case 's':
				f.silent = true
			case 'e', 'i':
			case 'a':
				f.array, f.names = true, []string{value}
			case 'd':
				f.delim = (value + "\x00")[0]
			case 'n', 'N':
				f.count, ok = number(value)
				f.exact = c == 'N'
			case 'p':
				if r.fds[0] != nil && r.fds[0].tty {
					r.errf("%s", value)
				}
			case 't':
				n, err := strconv.ParseFloat(value, 64)
				f.timeout, f.timed, ok = time.Duration(n*float64(time.Second)), true, err == nil
			case 'u':
				f.fd, ok = number(value)
			default:
				r.fail(2, "read: -%c: invalid option", c)
				return f, false
			}
			if !ok || r.dash && c != 'r' && c != 'p' {
				r.fail(2, "read: -%c %s: invalid option", c, value)
				return f, false
			}
		}
	}
	if !f.array {
		f.names = args
	}
	return f, true
}

// read implements the read builtin. It reads byte by byte, so that the next
// command finds the rest of the input.
func (r *runner) read(args []string) {
	f, ok := r.readFlags(args)
	if !ok {
		return
	}
	for _, name := range f.names {
		if base, _, _ := strings.Cut(name, "["); !validName(base) {
			r.fail(map[bool]int{true: 2, false: 1}[r.dash], "read: `%s': not a valid identifier", name)
			return
		}
	}
	if r.fds[f.fd] == nil {
		r.fail(1, "read: %d: invalid file descriptor: Bad file descriptor", f.fd)
		return
	}
	in := r.fds.reader(f.fd)
	ended := r.ctx.Done()
	if f.timed {
		over := make(chan struct{})
		ctx, stop := r.p.Host.detach(r.ctx)
		defer stop(nil)
		r.p.Host.outlive(r.ctx, func() {
			if r.p.Host.o.Clock.Sleep(ctx, f.timeout) == nil {
				close(over)
			}
		})
		ended = over
	}
	text, complete := readUntil(readerUntil(in, ended), f)
	if !complete && f.timed && closedNow(ended) {
		r.status = 142
	} else if !complete {
		r.status = 1
	}
	status := r.status
	r.assignRead(f, text)
	if r.status == 0 {
		r.status = status
	}
}

func closedNow(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A readChar is a character of a line; escaped ones do not separate fields.
type readChar struct {
	c       byte
	escaped bool
}

func readUntil(in io.Reader, f reading) (line []readChar, complete bool) {
	one := make([]byte, 1)
	escape := false
	for len(line) < maxLine {
		if f.count >= 0 && len(line) >= f.count {
			return line, true
		}
		n, err := in.Read(one)
		if n == 0 && err != nil {
			return line, false
		}
		if n == 0 {
			continue
		}
		c := one[0]
		switch {
		case escape:
			escape = false
			if c != '\n' {
				line = append(line, readChar{c, true})
			}
		case c == f.delim && !f.exact:
			return line, true
		case c == '\\' && !f.raw:
			escape = true
		case c == 0:
		default:
			line = append(line, readChar{c, false})
		}
	}
	return line, false
}

func (r *runner) assignRead(f reading, line []readChar) {
	if len(f.names) == 0 || f.exact {
		var b strings.Builder
		for _, c := range line {
			b.WriteByte(c.c)
		}
		name := "REPLY"
		if len(f.names) > 0 {
			name = f.names[0]
		}
		r.assign(name, b.String())
		return
	}
	ifs, ok := r.lookup("IFS").scalar()
	if !ok {
		ifs = " \t\n"
	}
	most := len(f.names)
	if f.array {
		most = -1
	}
	words := splitRead(line, ifs, most)
	if f.array {
		r.unset(f.names[0])
		v := r.writable(f.names[0])
		if v == nil {
			return
		}
		v.list, v.set = indexed(words).list, true
		r.hold(v.size())
		return
	}
	for i, name := range f.names {
		value := ""
		if i < len(words) {
			value = words[i]
		}
		if base, index, element := strings.Cut(name, "["); element {
			r.assignElement(base, strings.TrimSuffix(index, "]"), value)
		} else {
			r.assign(name, value)
		}
	}
}

// splitRead splits a line into at most n fields, the last of which is the rest of
// the line; -1 is no limit.
func splitRead(line []readChar, ifs string, n int) []string {
	white := func(c readChar) bool {
		return !c.escaped && strings.IndexByte(" \t\n", c.c) >= 0 && strings.IndexByte(ifs, c.c) >= 0
	}
	delim := func(c readChar) bool { return !c.escaped && strings.IndexByte(ifs, c.c) >= 0 }
	text := func(cs []readChar) string {
		b := make([]byte, len(cs))
		for i, c := range cs {
			b[i] = c.c
		}
		return string(b)
	}
	for len(line) > 0 && white(line[0]) {
		line = line[1:]
	}
	var words []string
	for len(line) > 0 {
		if n > 0 && len(words) == n-1 {
			end := len(line)
			for end > 0 && white(line[end-1]) {
				end--
			}
			// A single delimiter after the last field is dropped.
			rest := line[:end]
			if end > 0 && delim(rest[end-1]) && !white(rest[end-1]) && !slices.ContainsFunc(rest[:end-1], delim) {
				rest = rest[:end-1]
				for len(rest) > 0 && white(rest[len(rest)-1]) {
					rest = rest[:len(rest)-1]
				}
			}
			return append(words, text(rest))
		}
		end := 0
		for end < len(line) && !delim(line[end]) {
			end++
		}
		words = append(words, text(line[:end]))
		line = line[end:]
		for len(line) > 0 && white(line[0]) {
			line = line[1:]
		}
		if len(line) > 0 && delim(line[0]) {
			line = line[1:]
			for len(line) > 0 && white(line[0]) {
				line = line[1:]
			}
		}
	}
	return words
}

// readArray implements mapfile and readarray.
func (r *runner) readArray(args []string) {
	name, delim, trim, skip, most, origin, fd := "MAPFILE", "\n", false, 0, 0, -1, 0
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flag, value := args[0][:2], args[0][2:]
		args = args[1:]
		if flag == "-t" {
			trim = true
			if value != "" {
				args = append([]string{"-" + value}, args...)
			}
			continue
		}
		if value == "" && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		ok := true
		switch flag {
		case "-d":
			delim = (value + "\x00")[:1]
		case "-n":
			most, ok = number(value)
		case "-s":
			skip, ok = number(value)
		case "-O":
			origin, ok = number(value)
		case "-u":
			fd, ok = number(value)
		default:
			ok = false
		}
		if !ok {
			r.fail(2, "mapfile: %s: invalid option", flag)
			return
		}
	}
	if len(args) > 0 {
		name = args[0]
	}
	in := readerUntil(r.fds.reader(fd), r.ctx.Done())
	var all []string
	size := int64(0)
	for most == 0 || len(all) < most+skip {
		line, complete := readUntil(in, reading{raw: true, delim: delim[0], count: -1})
		if !complete && len(line) == 0 {
			break
		}
		text := make([]byte, len(line), len(line)+1)
		for i, c := range line {
			text[i] = c.c
		}
		if complete && !trim {
			text = append(text, delim[0])
		}
		all = append(all, string(text))
		if size += int64(len(text)) + 64; !r.room(size) {
			return
		}
		if !complete {
			break
		}
	}
	all = all[min(skip, len(all)):]
	if origin < 0 {
		r.unset(name)
		origin = 0
	}
	v := r.writable(name)
	if v == nil {
		return
	}
	if v.list == nil {
		v.list = map[int]string{}
	}
	for i, s := range all {
		v.list[origin+i] = s
	}
	v.set = true
	r.hold(size)
}

// cd implements cd with -L and -P.
func (r *runner) cd(args []string) {
	physical := false
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		if args[0] == "--" {
			args = args[1:]
			break
		}
		physical = args[0] == "-P"
		args = args[1:]
	}
	shown := false
	target := ""
	switch {
	case len(args) > 1 && !r.dash:
		r.fail(1, "cd: too many arguments")
		return
	case len(args) == 0:
		var ok bool
		if target, ok = r.lookup("HOME").scalar(); !ok {
			r.fail(1, "cd: HOME not set")
			return
		}
		if target == "" {
			return
		}
	case args[0] == "-":
		var ok bool
		if target, ok = r.lookup("OLDPWD").scalar(); !ok {
			r.fail(1, "cd: OLDPWD not set")
			return
		}
		shown = true
	default:
		target = args[0]
	}
	dir := ""
	if cdpath := r.get("CDPATH"); cdpath != "" && !strings.HasPrefix(target, "/") && !strings.HasPrefix(target, ".") {
		for prefix := range strings.SplitSeq(cdpath, ":") {
			full := path.Clean(absPath(r.logicalDir(), path.Join(prefix, target)))
			if info, err := r.p.FS.Stat(full); err == nil && info.IsDir() {
				dir, shown = full, prefix != ""
				break
			}
		}
	}
	if dir == "" {
		dir = path.Clean(absPath(r.logicalDir(), target))
	}
	if target == "" {
		return
	}
	if !r.changeDir(dir, target, physical, "cd") {
		return
	}
	if shown {
		r.print(r.get("PWD"), "\n")
	}
}

// logicalDir returns the working directory as the script knows it.
func (r *runner) logicalDir() string { return r.p.Dir }

func (r *runner) changeDir(dir, shown string, physical bool, by string) bool {
	info, err := r.p.FS.Stat(dir)
	if err == nil && physical {
		dir, err = r.p.FS.EvalSymlinks(dir)
	}
	if err == nil && info.IsDir() {
		err = r.p.FS.Access(dir, 1)
	}
	switch {
	case err != nil && r.dash:
		r.fail(2, "%s: can't cd to %s", by, shown)
		return false
	case err != nil:
		r.fail(1, "%s: %s: %s", by, shown, errText(err))
		return false
	case !info.IsDir():
		r.fail(map[bool]int{true: 2, false: 1}[r.dash], "%s: %s: Not a directory", by, shown)
		return false
	}
	r.assign("OLDPWD", r.p.Dir)
	r.p.Dir = dir
	r.assign("PWD", dir)
	return true
}

func (r *runner) sameDir(name string) bool {
	a, errA := r.p.FS.Stat(name)
	b, errB := r.p.FS.Stat(r.p.Dir)
	return path.IsAbs(name) && errA == nil && errB == nil && a.Ino() == b.Ino()
}

func (r *runner) pwd(args []string) {
	dir := r.p.Dir
	if slices.Contains(args[1:], "-P") {
		if real, err := r.p.FS.EvalSymlinks(dir); err == nil {
			dir = real
		}
	}
	r.print(dir, "\n")
}

// directoryStack implements pushd, popd and dirs.
func (r *runner) directoryStack(args []string) {
	name := args[0]
	args = slices.DeleteFunc(args[1:], func(s string) bool { return s == "-n" })
	switch {
	case name == "dirs" && len(args) > 0 && args[0] == "-c":
		r.dirs = nil
		return
	case name == "dirs" && len(args) > 0 && args[0] == "-p":
		r.print(strings.Join(append([]string{r.p.Dir}, r.dirs...), "\n"), "\n")
		return
	case name == "pushd" && len(args) == 0:
		if len(r.dirs) == 0 {
			r.fail(1, "pushd: no other directory")
			return
		}
		old := r.p.Dir
		if !r.changeDir(r.dirs[0], r.dirs[0], false, name) {
			return
		}
		r.dirs = append([]string{old}, r.dirs[1:]...)
	case name == "pushd":
		old := r.p.Dir
		if !r.changeDir(path.Clean(r.p.Path(args[0])), args[0], false, name) {
			return
		}
		r.dirs = append([]string{old}, r.dirs...)
	case name == "popd":
		if len(r.dirs) == 0 {
			r.fail(1, "popd: directory stack empty")
			return
		}
		if !r.changeDir(r.dirs[0], r.dirs[0], false, name) {
			return
		}
		r.dirs = r.dirs[1:]
	}
	all := append([]string{r.p.Dir}, r.dirs...)
	home := r.get("HOME")
	for i, dir := range all {
		if home != "" && home != "/" && (dir == home || strings.HasPrefix(dir, home+"/")) {
			all[i] = "~" + dir[len(home):]
		}
	}
	r.print(strings.Join(all, " "), "\n")
}

// umask implements the umask builtin.
func (r *runner) umask(args []string) {
	symbolic := false
	for _, arg := range args[1:] {
		switch {
		case arg == "-S":
			symbolic = true
			continue
		case arg == "-p":
			continue
		}
		mask := r.p.Umask
		if bits, err := strconv.ParseUint(arg, 8, 12); err == nil {
			mask = modeOf(uint32(bits))
		} else {
			allowed, err := parseMode(arg, ^mask&0o777, false, 0)
			if err != nil {
				r.fail(1, "umask: %v", err)
				return
			}
			mask = ^allowed & 0o777
		}
		r.p.setUmask(mask)
		return
	}
	if !symbolic {
		fprintf(r.stdout(), "%04o\n", uint32(r.p.Umask))
		return
	}
	text := make([]string, 0, 3)
	for i, who := range "ugo" {
		bits := ^uint32(r.p.Umask) >> (6 - 3*i) & 7
		s := string(who) + "="
		for j, c := range "rwx" {
			if bits&(4>>j) != 0 {
				s += string(c)
			}
		}
		text = append(text, s)
	}
	r.print(strings.Join(text, ","), "\n")
}
