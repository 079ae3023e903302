package ec2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

// followAfter is how long connecting must fail before the baking host's address is
// looked up again, and the time between two such lookups.
const followAfter = 30 * time.Second

// A dialFunc opens network connections.
type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// A sourceFollower admits the baking host to the temporary security group again when
// its public address has changed during the build.
type sourceFollower struct {
	session *session
	dial    dialFunc

	mu       sync.Mutex
	admitted []netip.Prefix
	failing  time.Time // since when connections fail without a refusal; zero if they do not
}

// following returns dial with a sourceFollower, if the temporary group admits the
// baking host's own address.
func (s *session) following(dial dialFunc) dialFunc {
	if len(s.SecurityGroup.From) == 0 || s.builder.SSH.Dial != nil || len(s.builder.SSH.From) > 0 {
		return dial
	}
	f := &sourceFollower{session: s, dial: dial, admitted: slices.Clone(s.SecurityGroup.From)}
	return f.Dial
}

func (f *sourceFollower) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if f.due() {
		if err := f.follow(ctx); err != nil {
			return nil, err
		}
	}
	conn, err := f.dial(ctx, network, addr)
	f.note(err)
	return conn, err
}

// due reports whether to look up the address now.
func (f *sourceFollower) due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.session.run.Clock.Now()
	if f.failing.IsZero() || now.Sub(f.failing) < followAfter {
		return false
	}
	f.failing = now
	return true
}

// note records the result of a connection attempt. A refusal passed the security group.
func (f *sourceFollower) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil || errors.Is(err, syscall.ECONNREFUSED):
		f.failing = time.Time{}
	case f.failing.IsZero():
		f.failing = f.session.run.Clock.Now()
	}
}

// follow admits the baking host's address if it has changed.
func (f *sourceFollower) follow(ctx context.Context) error {
	from, err := f.session.sshFrom(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	known := !slices.ContainsFunc(from, func(p netip.Prefix) bool { return !slices.Contains(f.admitted, p) })
	f.mu.Unlock()
	if known {
		return nil
	}
	if err := f.session.allowSSH(ctx, from); err != nil {
		err = fmt.Errorf("the baking host's address is now %v: %w", from, err)
		f.session.run.Say("%v", err)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.admitted = append(f.admitted, from...)
	f.session.run.Say("the baking host's address is now %v; the temporary security group admits it", from)
	return nil
}
