package sshmachine_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// clientGoroutines returns the number of goroutines that execute this module's code
// for machines: all of a connection's but two of package ssh.
func clientGoroutines() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if body, _, _ := strings.Cut(stack, "\ncreated by"); strings.Contains(body, "bake/sshmachine.(") || strings.Contains(body, "bake/sshmachine.serve") {
			n++
		}
	}
	return n
}

// wantClientGoroutines waits until clientGoroutines returns at most n.
func wantClientGoroutines(t *testing.T, when string, n int) {
	t.Helper()
	got := 0
	for range 6000 {
		if got = clientGoroutines(); got <= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("goroutines of %s = %d, want at most %d", when, got, n)
}

// A thousand images wait at once, so each goroutine counts.
func TestGoroutinesOfMachine(t *testing.T) {
	before := clientGoroutines()
	h := newHost(t)
	m := connect(t, h.configFor(h.listen(t)))
	idle := before + 2 // reads the network; answers the server's requests
	wantClientGoroutines(t, "an idle machine", idle)

	ctx, cancel := context.WithCancel(t.Context())
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx, &bake.Cmd{Line: "echo; exec sleep 1000", Stdout: &firstWrite{begun: begun}}) // canceled
	}()
	<-begun
	// Run, the call that Run may abandon, both outputs and the exit.
	wantClientGoroutines(t, "a command", idle+5)
	cancel()
	<-done
}

// A firstWrite closes begun when it is first written to.
type firstWrite struct{ begun chan struct{} }

// Write never fails.
func (w *firstWrite) Write(p []byte) (int, error) {
	select {
	case <-w.begun:
	default:
		close(w.begun)
	}
	return len(p), nil
}
