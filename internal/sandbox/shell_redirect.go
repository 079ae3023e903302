package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"mvdan.cc/sh/v3/syntax"
)

// redirect opens the files of redirections. The returned func restores the
// descriptors, unless the command was exec.
func (r *runner) redirect(all []*syntax.Redirect) (undo func(), ok bool) {
	if len(all) == 0 {
		return func() {}, true
	}
	saved := fdTable{}
	closed := map[int]bool{}
	save := func(fd int) {
		if _, done := saved[fd]; done || closed[fd] {
			return
		}
		if s := r.fds[fd]; s != nil {
			saved[fd] = s.retain()
		} else {
			closed[fd] = true
		}
	}
	undo = func() {
		if r.keepFDs {
			saved.closeAll()
			return
		}
		for fd, s := range saved {
			r.fds.set(fd, s)
		}
		for fd := range closed {
			r.fds.set(fd, nil)
		}
	}
	for _, rd := range all {
		if !r.redirectOne(rd, save) {
			return undo, false
		}
	}
	return undo, true
}

func (r *runner) redirectOne(rd *syntax.Redirect, save func(int)) bool {
	fd := 1
	switch rd.Op {
	case syntax.RdrIn, syntax.DplIn, syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc, syntax.RdrInOut:
		fd = 0
	}
	switch {
	case rd.N != nil && strings.HasPrefix(rd.N.Value, "{"):
		name := strings.Trim(rd.N.Value, "{}")
		if rd.Op == syntax.DplIn || rd.Op == syntax.DplOut {
			if r.text(rd.Word) == "-" {
				n, err := strconv.Atoi(r.named(name))
				if err != nil {
					r.errorf("%s: ambiguous redirect", name)
					return false
				}
				r.fds.set(n, nil)
				return true
			}
		}
		fd = r.fds.free(10)
		if !r.assignNamed(name, itoa(fd)) {
			return false
		}
	case rd.N != nil:
		n, err := strconv.Atoi(rd.N.Value)
		if err != nil || n >= maxFD {
			r.errorf("%s: Bad file descriptor", rd.N.Value)
			return false
		}
		fd = n
		save(fd)
	default:
		save(fd)
	}
	switch rd.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		r.fds.set(fd, textStream(r.document(rd)))
		return r.flow == flowNext
	case syntax.WordHdoc:
		r.fds.set(fd, textStream(r.text(rd.Word)+"\n"))
		return r.flow == flowNext
	}
	word, ok := r.redirectWord(rd.Word)
	if !ok {
		return false
	}
	switch rd.Op {
	case syntax.DplIn, syntax.DplOut:
		if n, err := strconv.Atoi(strings.TrimSuffix(word, "-")); err == nil || word == "-" {
			return r.duplicate(fd, n, word)
		}
		if rd.Op == syntax.DplIn || rd.N != nil {
			r.errorf("%s: ambiguous redirect", word)
			return false
		}
		fallthrough
	case syntax.RdrAll, syntax.AppAll:
		flag := os.O_TRUNC
		if rd.Op == syntax.AppAll {
			flag = os.O_APPEND
		}
		s, ok := r.open(word, os.O_WRONLY|os.O_CREATE|flag, rd.Op == syntax.RdrAll)
		if !ok {
			return false
		}
		save(2)
		r.fds.set(1, s)
		r.fds.set(2, s.retain())
		return true
	}
	flag := os.O_RDONLY
	switch rd.Op {
	case syntax.RdrOut, syntax.RdrClob:
		flag = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	case syntax.AppOut:
		flag = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	case syntax.RdrInOut:
		flag = os.O_RDWR | os.O_CREATE
	}
	s, ok := r.open(word, flag, rd.Op == syntax.RdrOut)
	if ok {
		r.fds.set(fd, s)
	}
	return ok
}

// elementRedirects moves the names of descriptors such as {fds[0]} from a
// command's words, where the parser leaves them, to its redirections.
func elementRedirects(words []*syntax.Word, redirs []*syntax.Redirect) ([]*syntax.Word, []*syntax.Redirect) {
	for i, rd := range redirs {
		at := slices.IndexFunc(words, func(w *syntax.Word) bool { return rd.N == nil && w.End() == rd.OpPos })
		if at < 0 {
			continue
		}
		text := textOf(words[at])
		if base, _, ok := strings.Cut(strings.TrimPrefix(text, "{"), "["); !ok || !strings.HasPrefix(text, "{") || !strings.HasSuffix(text, "]}") || !validName(base) {
			continue
		}
		c := *rd
		c.N = &syntax.Lit{Value: text}
		redirs = slices.Clone(redirs)
		redirs[i] = &c
		words = slices.Delete(slices.Clone(words), at, at+1)
	}
	return words, redirs
}

// maxFD bounds the numbers of descriptors.
const maxFD = 1024

func (r *runner) redirectWord(w *syntax.Word) (string, bool) {
	if r.dash {
		word := r.text(w)
		return word, r.flow == flowNext
	}
	words := r.fields([]*syntax.Word{w})
	if r.flow != flowNext {
		return "", false
	}
	if len(words) != 1 {
		var b strings.Builder
		_ = syntax.NewPrinter().Print(&b, w) // a parsed node can be printed
		r.errorf("%s: ambiguous redirect", b.String())
		return "", false
	}
	return words[0], true
}

// duplicate makes fd a copy of n, or closes it. A dash after a number moves the
// descriptor.
func (r *runner) duplicate(fd, n int, word string) bool {
	if word == "-" {
		r.fds.set(fd, nil)
		return true
	}
	s := r.fds[n]
	if s == nil {
		r.errorf("%d: Bad file descriptor", n)
		return false
	}
	if fd != n {
		r.fds.set(fd, s.retain())
		if strings.HasSuffix(word, "-") {
			r.fds.set(n, nil)
		}
	}
	return true
}

// open opens a file for a redirection.
func (r *runner) open(name string, flag int, clobbers bool) (*stream, bool) {
	full := r.p.Path(name)
	if fd, ok := standardFD(full); ok {
		if s := r.fds[fd]; s != nil {
			return s.retain(), true
		}
	}
	if full == "/dev/tty" && r.fds[0] != nil && r.fds[0].tty {
		return r.fds[0].retain(), true
	}
	if strings.HasPrefix(full, "/dev/tcp/") || strings.HasPrefix(full, "/dev/udp/") {
		r.errorf("connect: Connection refused")
		r.errorf("%s: Connection refused", name)
		return nil, false
	}
	if info, err := r.p.FS.Stat(full); clobbers && r.opts.noclobber && err == nil && info.Mode().IsRegular() {
		r.errorf("%s: cannot overwrite existing file", name)
		return nil, false
	}
	f, err := r.p.FS.OpenFile(full, flag, 0o666)
	if err == nil && flag&(os.O_WRONLY|os.O_RDWR) == 0 && r.dash {
		if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
			_ = f.Close()
			err = syscall.EISDIR
		}
	}
	if name == "" {
		err = fs.ErrNotExist
	}
	if err != nil {
		r.openError(name, flag, err)
		return nil, false
	}
	return &stream{in: f, out: f, file: f, path: full, close: func() { _ = f.Close() }, refs: 1}, true
}

func (r *runner) openError(name string, flag int, err error) {
	text := errText(err)
	if !r.dash {
		r.errorf("%s: %s", name, text)
		return
	}
	verb := "open"
	if flag&os.O_CREATE != 0 {
		verb = "create"
	}
	if errors.Is(err, fs.ErrNotExist) {
		text = map[string]string{"create": "Directory nonexistent", "open": "No such file"}[verb]
	}
	r.errorf("cannot %s %s: %s", verb, name, text)
}

// standardFD returns the descriptor that a path such as /dev/stdin names.
func standardFD(name string) (int, bool) {
	name = path.Clean(name)
	switch name {
	case "/dev/stdin":
		return 0, true
	case "/dev/stdout":
		return 1, true
	case "/dev/stderr":
		return 2, true
	}
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if rest, ok := strings.CutPrefix(name, dir); ok {
			n, err := strconv.Atoi(rest)
			return n, err == nil
		}
	}
	return 0, false
}

// textStream returns a stream to read a text from.
func textStream(text string) *stream {
	return &stream{in: &lockedReader{r: strings.NewReader(text)}, refs: 1}
}

// lockedReader is safe for concurrent use.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}

// document returns the text of a here-document.
func (r *runner) document(rd *syntax.Redirect) string {
	if rd.Hdoc == nil {
		return ""
	}
	quoted := false
	for _, p := range rd.Word.Parts {
		switch p := p.(type) {
		case *syntax.Lit:
			quoted = quoted || strings.Contains(p.Value, `\`)
		default:
			quoted = true
		}
	}
	w := rd.Hdoc
	if rd.Op == syntax.DashHdoc {
		w = withoutTabs(w)
	}
	if !quoted {
		return r.documentText(w)
	}
	var b strings.Builder
	for _, p := range w.Parts {
		if lit, ok := p.(*syntax.Lit); ok {
			b.WriteString(decodeBytes(lit.Value))
		}
	}
	return b.String()
}

// withoutTabs returns the text of a <<- document without the tabs at the start of
// its lines.
func withoutTabs(w *syntax.Word) *syntax.Word {
	out := &syntax.Word{}
	start := true
	for _, p := range w.Parts {
		lit, ok := p.(*syntax.Lit)
		if !ok {
			out.Parts, start = append(out.Parts, p), false
			continue
		}
		var b strings.Builder
		for line := range strings.Lines(lit.Value) {
			if start {
				line = strings.TrimLeft(line, "\t")
			}
			b.WriteString(line)
			start = strings.HasSuffix(line, "\n")
		}
		c := *lit
		c.Value = b.String()
		out.Parts = append(out.Parts, &c)
	}
	return out
}
