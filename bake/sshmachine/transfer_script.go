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

// A transferScript is a script running on the machine that owns a transfer's
// temporary files. It creates them, executes commands read from its input, and
// removes them if its input ends before the commit, as it does when the connection
// is lost.
type transferScript struct {
	input   *io.PipeWriter
	output  *io.PipeReader
	release func() // of the script slot
	begun   string // what begin printed

	mu     sync.Mutex // held during a call
	lines  *bufio.Reader
	stderr tail
	done   chan struct{} // closed when exit and err are set
	exit   exit
	err    error
}

// startTransferScript starts a script that runs begin, which must print a line, and then
// executes commands. The command "commit" runs end; commands has the others, as
// items of a shell case statement.
func (c *conn) startTransferScript(ctx context.Context, su *sudo, begin, commands, end string) (*transferScript, error) {
	// The transfer needs another session for its data. Scripts use at most half
	// of the slots, so that transfers never wait for each other.
	select {
	case c.scriptSlots <- struct{}{}:
	case <-c.lost:
		return nil, fmt.Errorf("%w: %w", errNotStarted, c.lostError())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	script := begin + "while read -r c a b; do case $c in\n" + commands +
		"commit)\n" + end + "echo done; exit 0;;\nesac; done\nexit 1\n"
	commandReader, input := io.Pipe()
	out, answers := io.Pipe()
	t := &transferScript{input: input, output: out, release: sync.OnceFunc(func() { <-c.scriptSlots }), lines: bufio.NewReaderSize(out, maxAnswer), done: make(chan struct{})}
	p := c.newScript(su, script, commandReader)
	p.stdout = answers
	p.stderr = t.stderr.writer(nil)
	if !c.spawn(func() {
		defer close(t.done)
		t.exit, t.err = c.exec(ctx, p)
		_ = answers.CloseWithError(io.EOF)
		_ = commandReader.Close()
	}) {
		t.release()
		return nil, fmt.Errorf("%w: %w", errNotStarted, c.lostError())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.begun, err = t.readAnswer(); err != nil {
		return nil, err
	}
	return t, nil
}

// call sends a command and returns the line that the script prints.
func (t *transferScript) call(format string, args ...any) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := fmt.Fprintf(t.input, format+"\n", args...); err != nil {
		return "", t.failure()
	}
	return t.readAnswer()
}

func (t *transferScript) readAnswer() (string, error) {
	line, err := t.lines.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		_ = t.output.CloseWithError(fmt.Errorf("%w: line of more than %d bytes", errLongAnswer, t.lines.Size()))
		return "", t.failure()
	case err != nil:
		return "", t.failure()
	}
	return strings.TrimSpace(string(line)), nil
}

// commit makes the script move the data into place, and waits for its end. If write is
// not nil, it writes the script's further input.
func (t *transferScript) commit(write func(io.Writer) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = io.WriteString(t.input, "commit\n") // readAnswer reports a script that has ended
	var failed error
	if write != nil {
		failed = write(t.input)
	}
	_ = t.input.CloseWithError(failed)
	answer, err := t.readAnswer()
	switch {
	case failed != nil && !errors.Is(failed, io.ErrClosedPipe):
		err = failed // the cause of err
	case err == nil && answer != "done":
		err = fmt.Errorf("commit: unexpected answer %q", answer)
	}
	t.wait()
	return err
}

// failure waits for a script that ended early and returns the reason. The caller
// must hold t.mu.
func (t *transferScript) failure() error {
	t.wait()
	if t.err != nil {
		return t.err
	}
	if err := scriptError(t.exit, &t.stderr); err != nil {
		return err
	}
	return errors.New("transfer script ended early")
}

// close ends the script and waits for it. Unless committed, the script removes its
// temporary files.
func (t *transferScript) close() {
	_ = t.input.Close() // makes a call in progress return
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
