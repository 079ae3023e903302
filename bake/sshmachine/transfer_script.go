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
type transferScript struct {
	link    *conn
	input   *io.PipeWriter
	release func()

	mu     sync.Mutex // held while lines is read
	lines  *bufio.Reader
	stderr tail
	done   chan struct{}
	exit   exit
	err    error
}

// newControl starts a script, which runs begin, says "ready", and takes orders:
// "commit" runs end. The other orders are cases of the shell's case.
func (c *conn) startTransferScript(ctx context.Context, su *sudo, begin, orders, end string) (*transferScript, error) {
	// Every transfer with a control needs a second session for its data. Half of
	// the slots stay free of controls, so that they never wait for each other.
	select {
	case c.scriptSlots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	script := begin + "echo ready\nwhile read -r c a b; do case $c in\n" + orders +
		"commit)\n" + end + "echo done; exit 0;;\nesac; done\nexit 1\n"
	orderReader, input := io.Pipe()
	out, answers := io.Pipe()
	t := &transferScript{link: c, input: input, release: sync.OnceFunc(func() { <-c.scriptSlots }), lines: bufio.NewReader(out), done: make(chan struct{})}
	p := newScript(su, script, orderReader)
	p.stdout = answers
	p.stderr = t.stderr.writer(nil)
	if !c.spawn(func() {
		defer close(t.done)
		t.exit, t.err = c.exec(ctx, p)
		_ = answers.CloseWithError(io.EOF)
		_ = orderReader.Close()
	}) {
		t.release()
		return nil, fmt.Errorf("%w: %w", errNotStarted, c.lostError())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.readAnswer(); err != nil {
		return nil, err
	}
	return t, nil
}

// ask gives an order and returns the line that answers it.
func (t *transferScript) call(format string, args ...any) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := fmt.Fprintf(t.input, format+"\n", args...); err != nil {
		return "", t.failure()
	}
	return t.readAnswer()
}

func (t *transferScript) readAnswer() (string, error) {
	line, err := t.lines.ReadString('\n')
	if err != nil {
		return "", t.failure()
	}
	return strings.TrimSpace(line), nil
}

// commit makes the script finish its work.
func (t *transferScript) commit() error {
	answer, err := t.call("commit")
	if err == nil && answer != "done" {
		err = fmt.Errorf("on the machine: %q", answer)
	}
	t.close()
	return err
}

// reason is why the script ended early. The caller holds mu.
func (t *transferScript) failure() error {
	t.wait()
	if t.err != nil {
		return t.err
	}
	if err := scriptError(t.exit, &t.stderr); err != nil {
		return err
	}
	return errors.New("the transfer's script ended early")
}

// close ends the script, which removes what is temporary unless it committed,
// and waits for it.
func (t *transferScript) close() {
	_ = t.input.Close() // a question under way ends with it
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wait()
}

func (t *transferScript) wait() {
	_ = t.input.Close()
	_, _ = io.Copy(io.Discard, t.lines)
	<-t.done
	t.release()
}
