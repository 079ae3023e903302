package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
)

const (
	// outputDrain is how long the output of an exited command may stay silent
	// before it is cut off, when a background process holds it open.
	outputDrain = 2 * time.Second

	// A command's output ends maxDrains times outputDrain after its exit, not
	// counting the time that the caller's writer takes, or after maxDrainBytes,
	// even if a background process still prints. The limits leave enough for the
	// command's own output that is still on its way.
	maxDrains     = 5
	maxDrainBytes = 32 << 20
)

// A process is a command line for the login shell, with its input and outputs.
type process struct {
	line     string
	mark     string // printed when the command begins; empty for a command that cannot
	tag      string // value of markVariable, to find its processes; empty for none
	sudo     *sudo  // how line becomes root; nil to run as the login
	pty      bool
	urgent   bool        // must not wait for another session to end
	cleansUp bool        // removes temporary files on TERM, so must be given time
	prompt   *sudoPrompt // on a terminal with sudo
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
}

// An exit describes how a process ended.
type exit struct {
	known  bool
	status int
	signal string
}

// running is a process that was started on a channel.
type running struct {
	*process
	conn     *conn
	channel  ssh.Channel
	requests <-chan *ssh.Request

	out    *beginFilter
	errOut *beginFilter

	exit     exit
	exited   chan struct{}   // closed when exit is set
	ended    <-chan struct{} // closed when sudo's command has ended, if that is seen
	closed   chan struct{}   // closed when the server closed the channel
	activity atomic.Int64    // grows with every byte and write, to detect silence
	writing  atomic.Int32    // calls of Write in progress
}

var errSilent = errors.New("machine does not respond")

// errNotStarted is wrapped by the error of a process that cannot have run.
var errNotStarted = errors.New("not started")

// exec runs p and waits for it. It returns an error if the exit is not known.
func (c *conn) exec(ctx context.Context, p *process) (exit, error) {
	if !c.takeSlot(ctx, true) {
		return exit{}, c.noSlotError(ctx)
	}
	if err := bake.CheckLease(ctx); err != nil {
		c.releaseSlot()
		return exit{}, err
	}
	return c.execInSlot(ctx, p, c.releaseSlot)
}

// execInSlot runs p like exec, in a slot that the caller holds and release returns.
func (c *conn) execInSlot(ctx context.Context, p *process, release func()) (exit, error) {
	type started struct {
		r   *running
		err error
	}
	result := make(chan started, 1)
	if !c.spawn(func() {
		r, err := c.start(p)
		result <- started{r, err}
	}) {
		release()
		return exit{}, fmt.Errorf("%w: %w", errNotStarted, c.lostError())
	}
	select {
	case s := <-result:
		defer release()
		if s.err != nil {
			return exit{}, s.err
		}
		return s.r.wait(ctx)
	case <-ctx.Done():
		detached := context.WithoutCancel(ctx)
		cleanUp := func() {
			defer release()
			if s := <-result; s.err == nil {
				c.kill(detached, p, false)
				_ = s.r.channel.Close()
				for range s.r.requests { // until the server closes it
				}
			}
		}
		if !c.spawn(cleanUp) {
			release()
		}
		return exit{}, context.Cause(ctx)
	}
}

// start opens the channel and starts the command.
func (c *conn) start(p *process) (*running, error) {
	channel, requests, err := c.openSession(!p.urgent)
	if err != nil {
		return nil, c.startError(err)
	}
	fail := func(err error) (*running, error) {
		_ = channel.Close()
		ssh.DiscardRequests(requests)
		return nil, err
	}
	if p.pty {
		terminal := ssh.Marshal(&ptyRequest{Term: "xterm", Columns: 120, Rows: 40, Modes: ptyModes()})
		if ok, err := channel.SendRequest("pty-req", true, terminal); err != nil {
			return fail(c.startError(err))
		} else if !ok {
			return fail(errors.New("server refused to allocate a PTY"))
		}
	}
	ok, err := channel.SendRequest("exec", true, ssh.Marshal(&execRequest{Command: p.line}))
	switch {
	case err != nil:
		return fail(c.lostError())
	case !ok:
		return fail(errors.New("server refused to run a command"))
	}
	return &running{
		process: p, conn: c, channel: channel, requests: requests,
		out: &beginFilter{mark: []byte(p.mark), found: p.mark == ""}, errOut: &beginFilter{mark: []byte(p.mark), found: p.mark == "" || p.pty},
		exited: make(chan struct{}), closed: make(chan struct{}), ended: p.prompt.whenEnded(),
	}, nil
}

func (c *conn) startError(err error) error {
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
		return fmt.Errorf("server refuses sessions (sshd's MaxSessions?): %w", err)
	}
	return fmt.Errorf("%w: %w", errNotStarted, c.lostError())
}

// wait copies input and output until the process or ctx ends.
func (r *running) wait(ctx context.Context) (exit, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	drained := make(chan struct{})
	parts := []func(){
		r.watch,
		func() { r.copyOut(r.stdout, r.channel, r.out, stop) },
		func() { r.copyOut(r.stderr, r.channel.Stderr(), r.errOut, stop) },
	}
	var left atomic.Int32
	left.Store(int32(len(parts))) //nolint:gosec // G115: three
	for _, part := range parts {
		go func() {
			part()
			if left.Add(-1) == 0 {
				close(drained)
			}
		}()
	}
	inputDone := make(chan struct{})
	go func() { // not waited for, since cmd.Stdin may block forever
		defer close(inputDone)
		r.copyIn(stop)
	}()
	ended, err := r.awaitExit(ctx, drained)
	_ = r.channel.Close()
	limit := time.NewTimer(outputDrain)
	defer limit.Stop()
	select {
	case <-drained:
	case <-limit.C:
		// The server does not even close the channel.
		r.conn.drop(errSilent)
		<-drained
	}
	// Readers in memory, which have Len, never block. Waiting for them lets the
	// caller use its reader once Run has returned.
	if _, inMemory := r.stdin.(interface{ Len() int }); inMemory || r.stdin == nil {
		<-inputDone
	}
	if err == nil && !ended.known {
		// The caller's reader or writer may have failed.
		if err = context.Cause(ctx); err == nil {
			err = r.conn.lostError()
		}
	}
	if err == nil {
		err = r.begunError(ended)
	}
	return ended, err
}

// awaitExit waits until the process has exited and its output has ended or been
// silent for outputDrain. If ctx ends first, it kills the process.
func (r *running) awaitExit(ctx context.Context, drained <-chan struct{}) (exit, error) {
	var late <-chan time.Time // sudo's end
	for exited := false; !exited; {
		select {
		case <-drained:
			return r.exitIfKnown(), context.Cause(ctx)
		case <-r.exited:
			exited = true
		case <-ctx.Done():
			r.kill(ctx)
			return exit{}, context.Cause(ctx)
		case <-r.ended:
			r.ended = nil
			timer := time.NewTimer(endDelay)
			defer timer.Stop()
			late = timer.C
		case <-late:
			return exit{known: true, status: r.prompt.status}, nil
		}
	}
	ticker := time.NewTicker(outputDrain)
	defer ticker.Stop()
	atExit := r.activity.Load()
	drains := 0
	for seen := int64(-1); ; {
		select {
		case <-drained:
			return r.exitIfKnown(), context.Cause(ctx)
		case <-ctx.Done():
			r.kill(ctx)
			return exit{}, context.Cause(ctx)
		case <-ticker.C:
			now := r.activity.Load()
			busy := r.writing.Load() > 0
			if !busy {
				drains++
			}
			if now == seen && !busy || drains >= maxDrains || now-atExit > maxDrainBytes {
				return r.exitIfKnown(), nil
			}
			seen = now
		}
	}
}

// exitIfKnown returns the exit, or its zero value if that has not arrived.
func (r *running) exitIfKnown() exit {
	select {
	case <-r.exited:
		return r.exit
	default:
		return exit{}
	}
}

// kill kills all processes of r. It signals the process over the channel last, for machines
// without /proc: one that has ended does not lead to those it has started as root.
func (r *running) kill(ctx context.Context) {
	r.conn.kill(context.WithoutCancel(ctx), r.process, r.exitIfKnown().known || r.mark != "" && r.out.begun())
	_, _ = r.channel.SendRequest("signal", false, ssh.Marshal(&signalRequest{Signal: "TERM"}))
}

// watch handles the server's requests, of which one is the exit, until the server
// closes the channel.
func (r *running) watch() {
	defer close(r.closed)
	for request := range r.requests {
		if r.exitIfKnown().known {
			r.reject(request)
			continue
		}
		switch request.Type {
		case "exit-status":
			var msg exitStatus
			if ssh.Unmarshal(request.Payload, &msg) == nil {
				r.exit = exit{known: true, status: int(msg.Status)}
				close(r.exited)
			}
		case "exit-signal":
			var msg exitSignal
			if ssh.Unmarshal(request.Payload, &msg) == nil {
				r.exit = exit{known: true, status: 128 + signalNumber(msg.Signal), signal: msg.Signal}
				close(r.exited)
			}
		default:
			r.reject(request)
		}
	}
}

func (r *running) reject(request *ssh.Request) {
	if request.WantReply {
		_ = request.Reply(false, nil)
	}
}

// copyOut copies one output to the caller's writer. If the writer fails, it
// cancels the command.
func (r *running) copyOut(to io.Writer, from io.Reader, filter *beginFilter, stop context.CancelCauseFunc) {
	if to == nil {
		to = io.Discard
	}
	buffer := copyBuffer{limit: maxOutputBuffer}
	begun := filter.begun()
	for {
		content, err := buffer.read(from)
		r.activity.Add(int64(len(content)))
		if !begun {
			content = filter.pass(content)
			begun = filter.begun()
		}
		if len(content) > 0 && to != nil {
			r.writing.Add(1)
			_, failed := to.Write(content)
			r.writing.Add(-1)
			r.activity.Add(1)
			if failed != nil {
				stop(fmt.Errorf("output: %w", failed))
				to = nil
			}
		}
		if err != nil {
			return
		}
	}
}

// copyIn copies the caller's input to the process. If the reader fails, it cancels
// the command, so that a partial input is not mistaken for a complete one.
func (r *running) copyIn(stop context.CancelCauseFunc) {
	if r.stdin != nil {
		buffer := copyBuffer{limit: copyBufferSize}
		for {
			content, err := buffer.read(r.stdin)
			if len(content) > 0 {
				if _, failed := r.channel.Write(content); failed != nil {
					return // the process exited or closed its input
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				stop(fmt.Errorf("input: %w", err))
				return
			}
		}
	}
	if r.pty {
		r.sendTerminalEOF()
		return
	}
	_ = r.channel.CloseWrite()
}

// sendTerminalEOF sends end-of-file characters until the process exits. Two are
// needed after an incomplete line. They are repeated every second because a
// program that changes the terminal mode, for example sudo, discards its input.
func (r *running) sendTerminalEOF() {
	const interval = time.Second
	ended := r.prompt.whenEnded()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		const endOfFile = 4
		if _, err := r.channel.Write([]byte{endOfFile, endOfFile}); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.exited:
			return
		case <-r.closed:
			return
		case <-ended:
			return
		}
	}
}
