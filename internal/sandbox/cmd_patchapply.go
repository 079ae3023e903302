package sandbox

import (
	"errors"
	"strings"
	"syscall"
)

// patchRun applies the hunks of one patch to the lines of a file.
type patchRun struct {
	p     *patcher
	lines []string
	out   strings.Builder

	frozen              int // the lines copied to out or deleted
	inOffset, outOffset int
	work                int  // comparisons that were not yet counted as steps
	incomplete          bool // out ends without a newline
}

var errMisordered = errors.New("misordered hunks! output would be garbled")

// locate returns the line at which the old lines of h are found if fuzz lines of its
// context may differ, or 0. It changes the offset for the hunks that follow.
func (r *patchRun) locate(h *patchHunk, fuzz int) (int, error) {
	guess, size := h.first+r.inOffset, len(h.old)
	if size == 0 {
		return guess, nil
	}
	context := max(h.prefix, h.suffix)
	before, after := fuzz+h.prefix-context, fuzz+h.suffix-context
	last, least := len(r.lines)-(size-after)+1, r.frozen+1
	forward, back := last-guess, guess-least
	if guess <= back {
		back = guess - 1
	}
	at := 0
	var err error
	switch {
	case before < 0 && h.first <= 1: // only the start of the file matches
		if after < 0 && (size != len(r.lines) || h.prefix < r.frozen) {
			return 0, nil
		}
		if r.frozen <= h.prefix && 1-guess <= forward {
			at, err = r.matches(h, 1, 0, max(after, 0))
		}
	case after < 0: // only the end
		if offset := guess - (len(r.lines) - size + 1); offset <= back {
			at, err = r.matches(h, guess-offset, max(before, 0), 0)
		}
	default:
		at, err = r.search(h, guess, forward, back, max(before, 0), after)
	}
	if at > 0 {
		r.inOffset += at - guess
	}
	return at, err
}

// search tries the lines from guess on, the nearest first.
func (r *patchRun) search(h *patchHunk, guess, forward, back, before, after int) (int, error) {
	offset := 0
	if forward < 0 {
		offset = -forward
	} else if back < 0 { // the real one looks there too, and may find misordered hunks
		offset = max(back, 1-guess)
	}
	for ; offset <= max(forward, back); offset++ {
		if offset <= forward {
			if at, err := r.matches(h, guess+offset, before, after); at > 0 || err != nil {
				return at, err
			}
		}
		if 0 < offset && offset <= back {
			if at, err := r.matches(h, guess-offset, before, after); at > 0 || err != nil {
				return at, err
			}
		}
	}
	return 0, nil
}

// matches returns at if the old lines of h, without some at the start and the end, are
// there, or else 0.
func (r *patchRun) matches(h *patchHunk, at, before, after int) (int, error) {
	if err := r.step(1); err != nil {
		return 0, err
	}
	for i := before; i < len(h.old)-after; i++ {
		n := at + i - 1
		if n < 0 || n >= len(r.lines) {
			return 0, nil
		}
		if err := r.step(1 + len(h.old[i])>>6); err != nil { //nolint:mnd // long lines take time
			return 0, err
		}
		if !r.p.sameLine(r.lines[n], h.old[i]) {
			return 0, nil
		}
	}
	return at, nil
}

// sameLine compares lines, with -l regardless of the amount of white space.
func (c *patcher) sameLine(a, b string) bool {
	if a == b || !c.o.on("l") {
		return a == b
	}
	return looseLine(a) == looseLine(b)
}

func looseLine(s string) string {
	const blank = " \t\n"
	fields := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(blank, r) })
	lead := ""
	if s != strings.TrimLeft(s, " \t") && len(fields) > 0 {
		lead = " "
	}
	return lead + strings.Join(fields, " ")
}

// step counts work, so that a patch cannot compare without end.
func (r *patchRun) step(n int) error {
	const each = 256
	if r.work += n; r.work < each {
		return nil
	}
	steps := r.work / each
	r.work %= each
	if !r.p.p.session.step(steps) {
		r.p.p.kill(signal("XCPU"))
		return syscall.EINTR
	}
	return nil
}

// apply writes the file up to the end of h, whose old lines begin at line where.
func (r *patchRun) apply(h *patchHunk, where int) error {
	where--
	err := h.each(func(l patchLine) error {
		if l.op != ' ' {
			if err := r.copyTo(where); err != nil {
				return err
			}
		}
		switch l.op {
		case '-':
			r.frozen++
		case '+':
			return r.write(l.text)
		}
		if l.op != '+' {
			where++
		}
		return nil
	})
	if err == nil {
		r.outOffset += len(h.new) - len(h.old)
	}
	return err
}

// copyTo copies the lines of the file up to number n.
func (r *patchRun) copyTo(n int) error {
	if r.frozen > n {
		return errMisordered
	}
	for ; r.frozen < min(n, len(r.lines)); r.frozen++ {
		if err := r.write(r.lines[r.frozen]); err != nil {
			return err
		}
	}
	r.frozen = n
	return nil
}

func (r *patchRun) write(line string) error {
	if err := r.p.hold(2 * (len(line) + 1)); err != nil { //nolint:mnd // out grows by doubling
		return err
	}
	if r.incomplete {
		r.out.WriteByte('\n')
	}
	r.out.WriteString(line)
	r.incomplete = !strings.HasSuffix(line, "\n")
	return nil
}

// otherEnds reports whether either the patch or the file near a line has CRLF.
func (r *patchRun) otherEnds(h *patchHunk, at int) bool {
	if len(r.lines) == 0 || len(h.old) == 0 {
		return false
	}
	line := r.lines[min(max(at, 1), len(r.lines))-1]
	return strings.HasSuffix(line, "\r\n") != strings.HasSuffix(h.old[0], "\r\n")
}
