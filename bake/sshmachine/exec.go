package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// lingers is how long the outputs of an ended command may be silent before
	// they are cut: something in the background holds them.
	outputDrain = 2 * time.Second

	// copySize is the size of the buffers between a channel and a reader or
	// writer.
	copyBufferSize = 256 << 10
)

// A process is one command line for the login shell, with its ends.
type process struct {
	line     string
	tag      string // finds its processes to kill them
	sudo     *sudo  // how it was made root; nil for the login
	pty      bool
	cleansUp bool // removes its temporary files when it is told to end
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
}

// An exit is how a process ended.
type exit struct {
	known  bool
	status int
	signal string
}

// running is a process on its channel.
type running struct {
	*process
	conn     *conn
	channel  ssh.Channel
	requests <-chan *ssh.Request

	exit     exit
	exited   chan struct{} // the exit status arrived
	closed   chan struct{} // the server closed the channel
	activity atomic.Int64  // bytes and calls, so that silence can be seen
	writing  atomic.Int32  // writes to the caller under way
}

var errSilent = errors.New("the machine does not answer")

// errNotStarted is wrapped by the error of a process that surely never ran.
var errNotStarted = errors.New("not started")

// exec runs p and waits for it. An error is a process whose end is not known.
func (c *conn) exec(ctx context.Context, p *process) (exit, error) {
	if !c.takeSlot(ctx, true) {
		return exit{}, c.noSlotError(ctx)
	}
	return c.execInSlot(ctx, p, func() { <-c.slots })
}

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
		clean := func() {
			defer release()
			if s := <-result; s.err == nil {
				c.kill(detached, p, false)
				_ = s.r.channel.Close()
				for range s.r.requests { // until the server has closed it too
				}
			}
		}
		if !c.spawn(clean) {
			release()
		}
		return exit{}, context.Cause(ctx)
	}
}

// start opens the channel and begins the command.
func (c *conn) start(p *process) (*running, error) {
	channel, requests, err := c.openSession()
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
			return fail(errors.New("the server gives no terminal"))
		}
	}
	ok, err := channel.SendRequest("exec", true, ssh.Marshal(&execRequest{Command: p.line}))
	switch {
	case err != nil:
		return fail(c.lostError())
	case !ok:
		return fail(errors.New("the server runs no commands"))
	}
	return &running{
		process: p, conn: c, channel: channel, requests: requests,
		exited: make(chan struct{}), closed: make(chan struct{}),
	}, nil
}

func (c *conn) startError(err error) error {
	if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
		return fmt.Errorf("the server opens no more sessions (see Config.MaxSessions): %w", err)
	}
	return fmt.Errorf("%w: %w", errNotStarted, c.lostError())
}

// wait moves the data until the process has ended or ctx has.
func (r *running) wait(ctx context.Context) (exit, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var copies sync.WaitGroup
	copies.Go(r.watch)
	copies.Go(func() { r.copyOut(r.stdout, r.channel, stop) })
	copies.Go(func() { r.copyOut(r.stderr, r.channel.Stderr(), stop) })
	fed := make(chan struct{})
	go func() { // not waited for: a Read of the caller's may block for ever
		defer close(fed)
		r.copyIn(stop)
	}()
	drained := make(chan struct{})
	go func() {
		copies.Wait()
		close(drained)
	}()
	ended, err := r.awaitExit(ctx, drained)
	_ = r.channel.Close()
	patience := time.NewTimer(outputDrain)
	defer patience.Stop()
	select {
	case <-drained:
	case <-patience.C:
		// A connection that does not even close a channel is of no use.
		r.conn.drop(errSilent)
		<-drained
	}
	if _, blocking := r.stdin.(interface{ Len() int }); blocking || r.stdin == nil {
		<-fed // a reader in memory never blocks
	}
	if err == nil && !ended.known {
		// An error of the caller's reader or writer is why it broke off.
		if err = context.Cause(ctx); err == nil {
			err = r.conn.lostError()
		}
	}
	return ended, err
}

// untilEnd waits for the end of the process and its output, or kills it.
func (r *running) awaitExit(ctx context.Context, drained <-chan struct{}) (exit, error) {
	select {
	case <-drained:
		return r.exitIfKnown(), context.Cause(ctx)
	case <-r.exited:
	case <-ctx.Done():
		r.kill(ctx)
		return exit{}, context.Cause(ctx)
	}
	ticker := time.NewTicker(outputDrain)
	defer ticker.Stop()
	for seen := int64(-1); ; {
		select {
		case <-drained:
			return r.exitIfKnown(), context.Cause(ctx)
		case <-ctx.Done():
			r.kill(ctx)
			return exit{}, context.Cause(ctx)
		case <-ticker.C:
			now := r.activity.Load()
			if now == seen && r.writing.Load() == 0 {
				return r.exitIfKnown(), nil
			}
			seen = now
		}
	}
}

// ending is the exit, if it has arrived.
func (r *running) exitIfKnown() exit {
	select {
	case <-r.exited:
		return r.exit
	default:
		return exit{}
	}
}

// stop kills the process and waits a moment for its end.
func (r *running) kill(ctx context.Context) {
	_, _ = r.channel.SendRequest("signal", false, ssh.Marshal(&signalRequest{Signal: "TERM"}))
	r.conn.kill(context.WithoutCancel(ctx), r.process, r.exitIfKnown().known)
}

// watch takes what the server says of the process, until it closes the channel.
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

// copyOut moves one output to the caller. A writer that fails ends the command.
func (r *running) copyOut(to io.Writer, from io.Reader, stop context.CancelCauseFunc) {
	if to == nil {
		to = io.Discard
	}
	buffer := make([]byte, copyBufferSize/8)
	for {
		n, err := from.Read(buffer)
		r.activity.Add(int64(n))
		if n > 0 && to != nil {
			r.writing.Add(1)
			_, failed := to.Write(buffer[:n])
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

// feed moves the caller's input to the process. A reader that fails ends the
// command, so that half an input is never taken for a whole one.
func (r *running) copyIn(stop context.CancelCauseFunc) {
	if r.stdin != nil {
		buffer := make([]byte, copyBufferSize)
		for {
			n, err := r.stdin.Read(buffer)
			if n > 0 {
				if _, failed := r.channel.Write(buffer[:n]); failed != nil {
					return // the process has ended, or reads no more
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

// endTerminal ends the input of a terminal, which has no end of its own. The
// second character counts when the last line was not complete; more follow now
// and then, for a program that changes the terminal's mode, as sudo does, loses
// what was typed before.
func (r *running) sendTerminalEOF() {
	const again = time.Second
	ticker := time.NewTicker(again)
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
		}
	}
}
