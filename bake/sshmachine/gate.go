package sshmachine

import (
	"bytes"
	"io"
	"sync"
)

// A gate stands before the input of a command that sudo runs on a terminal.
// Sudo throws away what was typed before it asks, and before it starts the
// command. So the gate reads along in the output: it gives sudo the password
// when it asks, and lets the input pass when the command says that it began.
type gate struct {
	password string // with its line break
	asks     []byte // what sudo's prompt is
	begins   []byte // what the command says first
	next     io.Writer

	say    chan string
	opened chan struct{}
	open   func()
	ended  chan struct{}

	held []byte // output that may be the start of either
	done bool
}

func newGate(root *sudo, tag string, next io.Writer) *gate {
	g := &gate{
		asks: []byte(tag + "?"), begins: []byte(tag + "!\n"), next: next,
		say: make(chan string, 8), opened: make(chan struct{}), ended: make(chan struct{}),
	}
	if root.asks() {
		g.password = root.line()
	}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	return g
}

// announce makes a script say that it has begun.
func announce(tag, script string) string { return "echo " + quote(tag+"!") + "; " + script }

// Read gives what sudo is told, until the command has begun.
func (g *gate) Read(p []byte) (int, error) {
	select {
	case text := <-g.say:
		return copy(p, text), nil
	case <-g.opened:
		return 0, io.EOF
	case <-g.ended:
		return 0, io.ErrClosedPipe // nobody is left to read the input
	}
}

// Write passes the output on, without the two signs.
func (g *gate) Write(p []byte) (int, error) {
	if g.done {
		return g.next.Write(p)
	}
	g.held = append(g.held, p...)
	if before, after, found := bytes.Cut(g.held, g.begins); found {
		g.done, g.held = true, nil
		g.open()
		_, err := g.next.Write(append(bytes.Clone(before), after...))
		return len(p), err
	}
	for {
		before, after, found := bytes.Cut(g.held, g.asks)
		if !found {
			break
		}
		g.held = append(bytes.Clone(before), after...)
		select {
		case g.say <- g.password:
		default: // it asks more often than any sudo does
		}
	}
	return len(p), g.flush(len(g.begins))
}

// flush passes on all but the last bytes.
func (g *gate) flush(keep int) error {
	n := len(g.held) - keep
	if n <= 0 {
		return nil
	}
	_, err := g.next.Write(g.held[:n])
	g.held = append([]byte(nil), g.held[n:]...)
	return err
}

// close gives the gate up when the command has ended. What sudo said instead of
// running it is passed on.
func (g *gate) close() {
	close(g.ended)
	_ = g.flush(0)
}
