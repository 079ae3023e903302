// Package signals lets a program end its bakes in order when it is told to stop:
//
//	func main() {
//		ctx, stop := signals.Context(context.Background(), nil)
//		defer stop()
//		results, err := bake.Bake(ctx, opts, images...)
//		…
//	}
//
// The first interrupt, termination or hangup, as by Ctrl-C, a deploy, or a terminal
// that is closed, ends ctx. Its cause is an [*Error], which says which one. Each build
// then stops and removes what it has created. A second signal hurries that: see
// [bake.WithHurry]; what stays is named by its id in the error of Bake. A third one ends
// the program at once. A signal within half a second of another counts as the same.
//
// A broken pipe ends nothing: in "program | head", the bakes go on when head has seen
// enough, and writing to standard output fails.
//
// Signals that were ignored when the program started stay ignored: nohup works as usual.
package signals

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Options configure Context. A nil *Options is the same as the zero value.
type Options struct {
	// Cause returns why a signal ends the context. The cause is then an *Error that
	// wraps it. A service lets another process go on with its builds after SIGTERM by
	// returning the engine's cause for that. If Cause is nil, or returns nil, the
	// builds are canceled.
	Cause func(os.Signal) error

	// Received, if not nil, is called for the first and the second signal before
	// anything else happens, for example to tell people that the clean-up takes a
	// while. n is 1 or 2.
	Received func(s os.Signal, n int)
}

// An Error is the cause of a context that a signal has ended.
type Error struct {
	Signal os.Signal
	Err    error // of Options.Cause; may be nil
}

// Error names the signal: "received signal interrupt".
func (e *Error) Error() string {
	text := "received signal " + e.Signal.String()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the error of Options.Cause and context.Canceled.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{context.Canceled}
	}
	return []error{e.Err, context.Canceled}
}

// endings are the signals that end the context. On Windows, the runtime reports Ctrl-C
// and Ctrl-Break as interrupt, and a closed console, logoff and shutdown as SIGTERM.
func endings() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} }

// Context returns a context that the first signal ends, and a func that restores the
// program's usual behavior and releases everything. Call it once, in main.
func Context(parent context.Context, o *Options) (ctx context.Context, stop func()) {
	if o == nil {
		o = &Options{}
	}
	hurry := make(chan struct{})
	ctx, cancel := context.WithCancelCause(bake.WithHurry(parent, hurry))
	const unread = 3 // signals are not repeated for a channel that is full
	received := make(chan os.Signal, unread)
	for _, s := range endings() {
		if !signal.Ignored(s) {
			signal.Notify(received, s)
		}
	}
	// Unlike signal.Ignore, this is not inherited by the programs that provisioners start.
	pipes := make(chan os.Signal, 1)
	signal.Notify(pipes, syscall.SIGPIPE)
	done := make(chan struct{})
	var handling sync.WaitGroup
	handling.Go(func() {
		for n := 1; ; n++ {
			select {
			case s := <-received:
				o.handle(s, n, cancel, hurry)
				if !skipRepeats(received, done) {
					return
				}
				if n == 2 {
					signal.Stop(received) // the next one ends the program
					return
				}
			case <-done:
				return
			}
		}
	})
	return ctx, sync.OnceFunc(func() {
		signal.Stop(received)
		signal.Stop(pipes)
		close(done)
		handling.Wait()
		cancel(context.Canceled)
	})
}

// repeats is how long after a signal others are taken for the same: a parent may pass on
// what the terminal has sent to all already, and a terminal that is closed and its shell
// both send a hangup.
const repeats = 500 * time.Millisecond

// skipRepeats drops the signals that repeat the last one. It returns false once done is
// closed.
func skipRepeats(received <-chan os.Signal, done <-chan struct{}) bool {
	over := time.NewTimer(repeats)
	defer over.Stop()
	for {
		select {
		case <-received:
		case <-over.C:
			return true
		case <-done:
			return false
		}
	}
}

func (o *Options) handle(s os.Signal, n int, cancel context.CancelCauseFunc, hurry chan<- struct{}) {
	if o.Received != nil {
		o.Received(s, n)
	}
	if n > 1 {
		close(hurry)
		return
	}
	e := &Error{Signal: s}
	if o.Cause != nil {
		e.Err = o.Cause(s)
	}
	cancel(e)
}
