package sandbox

import (
	"errors"
	"io"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/syntax"
)

// substitute runs a command substitution and returns its output.
func (r *runner) substitute(cs *syntax.CmdSubst) string {
	if cs.TempFile || cs.ReplyVar {
		r.fatal("${ command; } is not supported by this machine")
		return ""
	}
	if len(cs.Stmts) == 0 {
		r.lastSubst = 0
		return ""
	}
	if text, ok := r.readFile(cs.Stmts); ok {
		return text
	}
	out := &capture{memory: r.p.Host.memory}
	status := r.subshell(func(c *runner) {
		c.traced++
		c.fds.set(1, &stream{out: out, refs: 1})
		if !r.dash && !r.shopts["inherit_errexit"] {
			c.opts.errexit = false
		}
		c.stmts(cs.Stmts)
	})
	if out.full {
		r.outOfMemory()
		return ""
	}
	if r.flow != flowNext {
		return ""
	}
	r.lastSubst = status
	if !r.dash {
		r.status = status
	}
	return strings.TrimRight(strings.ReplaceAll(out.b.String(), "\x00", ""), "\n")
}

// readFile implements $(<file).
func (r *runner) readFile(stmts []*syntax.Stmt) (string, bool) {
	st := stmts[0]
	if len(stmts) != 1 || st.Cmd != nil || len(st.Redirs) != 1 || st.Redirs[0].Op != syntax.RdrIn || st.Negated || st.Background || r.dash {
		return "", false
	}
	undo, ok := r.redirect(st.Redirs)
	defer undo()
	if !ok {
		r.status, r.lastSubst = 1, 1
		return "", true
	}
	p := r.goProcess([]string{"cat"})
	data, err := p.readAll(readerUntil(r.fds.reader(0), r.ctx.Done()))
	p.Host.memory.give(p.held)
	if err != nil {
		r.errorf("%s", errText(err))
		r.status, r.lastSubst = 1, 1
		return "", true
	}
	r.status, r.lastSubst = 0, 0
	return strings.TrimRight(strings.ReplaceAll(string(data), "\x00", ""), "\n"), true
}

// capture collects the output of a command substitution, whose writers may run
// concurrently.
type capture struct {
	memory *meter

	mu   sync.Mutex // guards the fields below
	b    strings.Builder
	full bool
}

func (c *capture) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := 2 * int64(c.b.Len()+len(b))
	if !c.memory.take(size) {
		c.full = true
		return 0, errMemory
	}
	c.memory.give(size)
	return c.b.Write(b)
}

var errMemory = errors.New("Cannot allocate memory") //nolint:staticcheck // as the system prints it

// hold counts n bytes that the process holds until it ends, and reports whether
// the machine has that much memory.
func (p *Process) hold(n int64) bool {
	if !p.Host.memory.take(n) {
		p.session.report("the limit of memory")
		return false
	}
	p.held += n
	return true
}

// readAll reads r to its end. It fails if that takes more memory than the machine
// has.
func (p *Process) readAll(r io.Reader) ([]byte, error) {
	var all []byte
	for {
		if len(all) == cap(all) {
			grow := max(4096, 2*cap(all))
			if !p.hold(int64(grow)) {
				return nil, errMemory
			}
			all = append(make([]byte, 0, grow), all...)
		}
		n, err := r.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}
