package sandbox

import (
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reading are the flags of read.
type reading struct {
	raw, array, exact, silent bool
	delim                     byte
	count                     int // characters, or -1
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
	if f.timed && f.timeout == 0 {
		r.status = map[bool]int{true: 0, false: 1}[r.fds[f.fd].ready()]
		return
	}
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
		r.assignNamed(name, value)
	}
}

// splitRead splits a line into at most n fields, the last of which is the rest of
// the line. If n is -1, it returns all fields.
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
	callback, every := "", 5000
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
		case "-C":
			callback = value
		case "-c":
			every, ok = number(value)
			ok = ok && every > 0
		default:
			r.fail(2, "mapfile: %s: invalid option", flag)
			return
		}
		if !ok {
			r.fail(1, "mapfile: %s: invalid number", value)
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
		if n := len(all) - skip; callback != "" && n > 0 && n%every == 0 {
			r.eval(callback+" "+itoa(max(origin, 0)+n-1)+" "+shellQuote(string(text)), "mapfile")
			if r.flow != flowNext {
				return
			}
		}
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
