package sshmachine

import (
	"bytes"
	"io"
	"strconv"
	"sync"
	"time"
)

// endDelay is how long sudo may take to end after its command on a terminal.
//
// With use_pty, the default of Debian 12, sudo 1.9.13 may never end. It passes what is
// typed on to the command through a buffer. If a character is in the buffer when the
// command ends, sudo writes the buffer before it exits; having written it, it waits for
// more to be typed, and for nothing else: the signal that its child has ended came and
// went. It ends when the terminal is closed. The characters are the ends of file that
// this package types.
const endDelay = 3 * time.Second

// A sudoPrompt answers sudo's password prompt on a terminal. It is both the writer
// that receives the command's output and a reader placed before its input. sudo
// discards input that arrives before it prompts or before it starts the command,
// so a sudoPrompt sends the password when it sees the prompt, and ends its own input
// when it sees that the command has started. It also sees the command end, for sudo may
// not; see endDelay.
type sudoPrompt struct {
	password  string // with a newline
	prompt    []byte // sudo's prompt
	startMark []byte // the first output of the command
	endMark   []byte // its last output, followed by its status and a line break
	next      io.Writer

	replies  chan string
	started  chan struct{}
	start    func() // closes started
	finished chan struct{}

	noise   []byte        // what sudo and others printed before startMark, or its start
	pending []byte        // output that may contain the beginning of prompt or of a mark
	done    bool          // startMark was seen
	ended   chan struct{} // closed when endMark was seen
	status  int           // of the command that has ended
}

func newSudoPrompt(su *sudo, tag string, next io.Writer) *sudoPrompt {
	s := &sudoPrompt{
		prompt: []byte(tag + "?"), startMark: []byte(tag + "!\n"), endMark: []byte(tag + "."), next: next,
		replies: make(chan string, 8), started: make(chan struct{}), finished: make(chan struct{}), ended: make(chan struct{}),
	}
	if su.needsPassword() {
		s.password = su.passwordLine()
	}
	s.start = sync.OnceFunc(func() { close(s.started) })
	return s
}

// announce makes script print a sudoPrompt's marks.
func announce(tag, script string) string {
	return "echo " + quote(tag+"!") + "; (eval " + quote(script) + "); set -- $?; echo " + quote(tag+".") + "\"$1\"; exit \"$1\""
}

// Read returns replies to sudo, and io.EOF once the command has started.
func (s *sudoPrompt) Read(p []byte) (int, error) {
	select {
	case text := <-s.replies:
		return copy(p, text), nil
	case <-s.started:
		return 0, io.EOF
	case <-s.finished:
		return 0, io.ErrClosedPipe // sudo failed: do not read the input
	}
}

// Write passes on the output that follows startMark.
func (s *sudoPrompt) Write(p []byte) (int, error) {
	s.pending = append(s.pending, p...)
	if s.done {
		return len(p), s.writeToEnd()
	}
	if _, after, found := bytes.Cut(s.pending, s.startMark); found {
		s.done, s.pending = true, after
		s.start()
		return len(p), s.writeToEnd()
	}
	for {
		before, after, found := bytes.Cut(s.pending, s.prompt)
		if !found {
			break
		}
		s.pending = append(bytes.Clone(before), after...)
		select {
		case s.replies <- s.password:
		default: // more prompts than any sudo prints
		}
	}
	s.drop(len(s.startMark))
	return len(p), nil
}

// drop takes all but the last keep bytes for noise.
func (s *sudoPrompt) drop(keep int) {
	if n := len(s.pending) - keep; n > 0 {
		s.noise = append(s.noise, s.pending[:min(n, maxNoise-len(s.noise))]...)
		s.pending = append([]byte(nil), s.pending[n:]...)
	}
}

// writeToEnd passes on the output of a command that has started, without endMark.
func (s *sudoPrompt) writeToEnd() error {
	for from := 0; ; {
		i := bytes.Index(s.pending[from:], s.endMark)
		if i < 0 {
			return s.flush(overlap(s.pending[from:], s.endMark))
		}
		at := from + i
		from = at + len(s.endMark)
		digits, _, whole := bytes.Cut(s.pending[from:], []byte{'\n'})
		const longest = 3 // digits
		switch status, err := strconv.Atoi(string(digits)); {
		case !whole && len(digits) <= longest:
			return s.flush(len(s.pending) - at)
		case err != nil || len(digits) > longest || s.hasEnded():
			// The command printed its own command line.
		default:
			s.pending = append(s.pending[:at], s.pending[from+len(digits)+1:]...)
			s.status = status
			close(s.ended)
			from = at
		}
	}
}

// overlap returns the length of the longest beginning of mark that text ends with.
func overlap(text, mark []byte) int {
	n := min(len(text), len(mark)-1)
	for !bytes.HasSuffix(text, mark[:n]) {
		n--
	}
	return n
}

// whenEnded returns a channel that is closed when the command has ended. It is nil for a
// nil s.
func (s *sudoPrompt) whenEnded() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.ended
}

func (s *sudoPrompt) hasEnded() bool {
	select {
	case <-s.whenEnded():
		return true
	default:
		return false
	}
}

// flush passes on all but the last keep bytes.
func (s *sudoPrompt) flush(keep int) error {
	n := len(s.pending) - keep
	if n <= 0 {
		return nil
	}
	_, err := s.next.Write(s.pending[:n])
	s.pending = append([]byte(nil), s.pending[n:]...)
	return err
}

// close passes on pending output after the command has ended, or takes it for noise if
// the command never began.
func (s *sudoPrompt) close() {
	close(s.finished)
	if !s.done {
		s.drop(0)
	}
	_ = s.flush(0)
}
