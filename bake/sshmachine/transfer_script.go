package sshmachine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// A control is a script on the machine that owns a transfer: it makes the
// temporary files, obeys one line after the other, and removes the temporary
// files when its input ends early, as it does with the connection.
type control struct {
	link  *link
	input *io.PipeWriter
	free  func()

	mu    sync.Mutex // held while lines is read
	lines *bufio.Reader
	said  tail
	done  chan struct{}
	exit  exit
	err   error
}

// newControl starts a script, which runs begin, says "ready", and takes orders:
// "commit" runs end. The other orders are cases of the shell's case.
func (l *link) newControl(ctx context.Context, root *sudo, begin, orders, end string) (*control, error) {
	// Every transfer with a control needs a second session for its data. Half of
	// the slots stay free of controls, so that they never wait for each other.
	select {
	case l.controls <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	script := begin + "echo ready\nwhile read -r c a b; do case $c in\n" + orders +
		"commit)\n" + end + "echo done; exit 0;;\nesac; done\nexit 1\n"
	orderReader, input := io.Pipe()
	out, answers := io.Pipe()
	c := &control{link: l, input: input, free: sync.OnceFunc(func() { <-l.controls }), lines: bufio.NewReader(out), done: make(chan struct{})}
	p := newScript(root, script, orderReader)
	p.stdout = answers
	p.stderr = c.said.writer(nil)
	if !l.begin(func() {
		defer close(c.done)
		c.exit, c.err = l.exec(ctx, p)
		_ = answers.CloseWithError(io.EOF)
		_ = orderReader.Close()
	}) {
		c.free()
		return nil, fmt.Errorf("%w: %w", errNotStarted, l.lostError())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.answer(); err != nil {
		return nil, err
	}
	return c, nil
}

// ask gives an order and returns the line that answers it.
func (c *control) ask(format string, args ...any) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintf(c.input, format+"\n", args...); err != nil {
		return "", c.reason()
	}
	return c.answer()
}

func (c *control) answer() (string, error) {
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return "", c.reason()
	}
	return strings.TrimSpace(line), nil
}

// commit makes the script finish its work.
func (c *control) commit() error {
	answer, err := c.ask("commit")
	if err == nil && answer != "done" {
		err = fmt.Errorf("on the machine: %q", answer)
	}
	c.close()
	return err
}

// reason is why the script ended early. The caller holds mu.
func (c *control) reason() error {
	c.drain()
	if c.err != nil {
		return c.err
	}
	if err := scriptError(c.exit, &c.said); err != nil {
		return err
	}
	return errors.New("the transfer's script ended early")
}

// close ends the script, which removes what is temporary unless it committed,
// and waits for it.
func (c *control) close() {
	_ = c.input.Close() // a question under way ends with it
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drain()
}

func (c *control) drain() {
	_ = c.input.Close()
	_, _ = io.Copy(io.Discard, c.lines)
	<-c.done
	c.free()
}
