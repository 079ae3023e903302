package sshmachine

import (
	"golang.org/x/crypto/ssh"
)

// openSession opens a channel for a session. It returns an error when the
// connection is lost meanwhile.
func (l *link) openSession() (ssh.Channel, <-chan *ssh.Request, error) {
	type opened struct {
		channel  ssh.Channel
		requests <-chan *ssh.Request
		err      error
	}
	result := make(chan opened, 1)
	// Package ssh waits for ever for the answer to a request that it takes after
	// it has told all channels that the connection has ended, so nobody waits for
	// this goroutine.
	go func() {
		channel, requests, err := l.client.OpenChannel("session", nil)
		result <- opened{channel, requests, err}
	}()
	select {
	case o := <-result:
		return o.channel, o.requests, o.err
	case <-l.dead:
		return nil, nil, l.lostError()
	}
}
