package sshmachine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/internal/visible"
)

// A NotBegunError reports that the machine ended a session without running the
// command: a forced command, a login shell that refuses, or sudo ran instead.
type NotBegunError struct {
	Status int    // the session's exit status, which may be zero
	Output string // the first of what the machine printed, on either output
}

// Error returns the machine's output, which usually names the cause.
func (e *NotBegunError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("command never began: the session ended with status %d and without output (forced command or login shell?)", e.Status)
	}
	return fmt.Sprintf("command never began: the session ended with status %d and printed: %s", e.Status, e.Output)
}

const (
	// maxNoise is how much of the output before a command's begin is kept, of each
	// stream, for a NotBegunError. Output of start-up files, sudo and the like
	// before the begin is otherwise dropped.
	maxNoise = 2 << 10

	errorTextBytes = 800
)

// announceBegin makes script first print mark on both outputs, or on a terminal once.
// The script does not contain the mark itself, since sudo's messages, forced commands
// and login shells that trace their commands may print the command line.
func announceBegin(mark string, pty bool, script string) string {
	half := len(mark) / 2
	show := "printf %s%s " + mark[:half] + " " + mark[half:]
	begin := show + "; "
	if !pty {
		begin += show + " >&2; "
	}
	return begin + script
}

// A beginFilter finds the mark in one output and drops what precedes it.
type beginFilter struct {
	mark []byte

	mu    sync.Mutex
	found bool
	tail  []byte // output that may contain the beginning of mark
	noise []byte
}

// pass returns the part of p to pass on. It does not keep p.
func (f *beginFilter) pass(p []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.found {
		return p
	}
	f.noise = append(f.noise, p[:min(len(p), maxNoise+len(f.mark)-len(f.noise))]...)
	f.tail = append(f.tail, p...)
	if _, after, found := bytes.Cut(f.tail, f.mark); found {
		f.found, f.tail = true, nil
		return after
	}
	f.tail = f.tail[max(0, len(f.tail)-len(f.mark)+1):]
	return nil
}

func (f *beginFilter) begun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found
}

// text returns the start of the output before the mark.
func (f *beginFilter) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return plainText(string(f.noise))
}

// plainText returns the start of a machine's output for an error text: one line of
// visible characters.
func plainText(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	s = visible.Text(strings.Join(lines, "; "))
	if len(s) > errorTextBytes {
		s = strings.ToValidUTF8(s[:errorTextBytes], "") + "..."
	}
	return strings.TrimSpace(s)
}

// begunError returns nil if the process has begun, as it has if it has no mark.
func (r *running) begunError(ended exit) error {
	if r.mark == "" || r.out.begun() {
		return nil
	}
	var said []string
	for _, f := range []*beginFilter{r.errOut, r.out} {
		if text := f.text(); text != "" {
			said = append(said, text)
		}
	}
	return &NotBegunError{Status: ended.status, Output: strings.Join(said, "; ")}
}

// An answer collects a short output of the machine.
type answer struct {
	bytes.Buffer

	limit int
}

var errLongAnswer = errors.New("machine's answer is too long")

// maxAnswer bounds the answers of the machine that are kept in memory: facts, digests,
// names and the like.
const maxAnswer = 64 << 10

// Write keeps p unless the answer becomes longer than its limit.
func (a *answer) Write(p []byte) (int, error) {
	limit := a.limit
	if limit == 0 {
		limit = maxAnswer
	}
	if a.Len()+len(p) > limit {
		return 0, fmt.Errorf("%w: more than %d bytes", errLongAnswer, limit)
	}
	return a.Buffer.Write(p)
}
