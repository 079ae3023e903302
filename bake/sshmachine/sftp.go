package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const (
	// openSSHPacket is what OpenSSH's server takes in one request; others are
	// only sure to take sftp's own default.
	openSSHPacket   = 255 << 10
	requestsPerFile = 64
)

// A channel is an SFTP client on a session of its own.
type channel struct {
	*sftp.Client
	session ssh.Channel
	release func()
	drained chan struct{}
}

type subsystemRequest struct{ Name string }

// openSFTP opens up to n channels, at least one if the server has SFTP at all.
// It waits for the first slot only. A context that ends closes none of them.
func (l *link) openSFTP(ctx context.Context, n int) []*channel {
	var mu sync.Mutex
	var open []*channel
	var wg sync.WaitGroup
	for i := range n {
		if !l.takeSlot(ctx, i == 0) {
			break
		}
		release := func() { <-l.slots }
		wg.Go(func() {
			c, err := l.newChannel(release)
			if err != nil {
				release()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			open = append(open, c)
		})
	}
	wg.Wait()
	return open
}

func (l *link) newChannel(release func()) (*channel, error) {
	session, requests, err := l.openSession()
	if err != nil {
		return nil, err
	}
	c := &channel{session: session, release: release, drained: make(chan struct{})}
	go func() { // ends with the session, which close waits for
		defer close(c.drained)
		ssh.DiscardRequests(requests)
	}()
	fail := func(err error) (*channel, error) {
		_ = session.Close()
		<-c.drained
		return nil, err
	}
	ok, err := session.SendRequest("subsystem", true, ssh.Marshal(&subsystemRequest{Name: "sftp"}))
	if err != nil || !ok {
		return fail(errors.Join(errors.New("the server has no SFTP"), err))
	}
	c.Client, err = sftp.NewClientPipe(session, session,
		sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(requestsPerFile), packetOf(l.client))
	if err != nil {
		return fail(fmt.Errorf("sftp: %w", err))
	}
	return c, nil
}

// packetOf is the size of requests that the server surely takes.
func packetOf(client *ssh.Client) sftp.ClientOption {
	const vendor = "SSH-2.0-OpenSSH"
	if version := string(client.ServerVersion()); len(version) >= len(vendor) && version[:len(vendor)] == vendor {
		return sftp.MaxPacketUnchecked(openSSHPacket)
	}
	const everyone = 32 << 10
	return sftp.MaxPacketChecked(everyone)
}

// close ends the channel and waits for it.
func (c *channel) close() {
	_ = c.Close()
	_ = c.session.Close()
	<-c.drained
	c.release()
}

func closeAll(open []*channel) {
	var wg sync.WaitGroup
	for _, c := range open {
		wg.Go(c.close)
	}
	wg.Wait()
}
