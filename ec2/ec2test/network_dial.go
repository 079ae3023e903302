package ec2test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memconn"
)

const sshPort = 22

// SourceAddress is the address that a program using Dial has for the
// instances and their security groups: 127.0.0.1.
func (s *Server) SourceAddress(context.Context) (netip.Addr, error) {
	return s.source(), nil
}

func (s *Server) source() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// Dial connects to port 22 of an instance by any of its addresses or DNS
// names, private or public, in memory. It behaves as a network does: an
// address that no running instance has is unreachable, an instance that still
// boots refuses, and one whose security groups do not let SourceAddress in
// does not answer at all until ctx ends. To an IPv6 address it comes from ::1.
func (s *Server) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.dialFrom(ctx, s.source(), network, addr)
}

// DialInstance connects to port 22 of an instance from within, as a session of
// the SSM agent does: by its id, whatever its security groups say, and also
// without an address that could be reached.
func (s *Server) DialInstance(ctx context.Context, id string) (net.Conn, error) {
	for _, r := range s.existing() {
		r.mu.Lock()
		i, ok := r.instances.get(id)
		r.mu.Unlock()
		if ok {
			m, _ := i.reach(netip.IPv6Loopback(), sshPort)
			return s.connect(ctx, m, netip.AddrPortFrom(netip.IPv6Loopback(), sshPort), netip.IPv6Loopback(), memconn.Addr(id))
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "ssm", Addr: memconn.Addr(id), Err: syscall.EHOSTUNREACH}
}

// dialFrom is Dial for one that has the address from.
func (s *Server) dialFrom(ctx context.Context, from netip.Addr, network, addr string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	target := memconn.Addr(addr)
	refuse := func(cause error) error {
		return &net.OpError{Op: "dial", Net: network, Source: nil, Addr: target, Err: cause}
	}
	i := s.network.at(host)
	if i == nil {
		return nil, refuse(syscall.EHOSTUNREACH)
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		from = netip.IPv6Loopback()
	}
	m, allowed := i.reach(from, sshPort)
	switch {
	case m == nil:
		return nil, refuse(syscall.EHOSTUNREACH)
	case !allowed:
		select {
		case <-ctx.Done():
			return nil, refuse(context.Cause(ctx))
		case <-s.closing:
			return nil, refuse(net.ErrClosed)
		}
	case port != sshPort && (!s.opts.Listen || int(port) != s.opts.Port):
		return nil, refuse(syscall.ECONNREFUSED)
	}
	return s.connect(ctx, m, netip.AddrPortFrom(i.address(host), sshPort), from, target)
}

// connect makes a connection with a machine, which may be nil when the instance
// is off.
func (s *Server) connect(ctx context.Context, m *machine, to netip.AddrPort, from netip.Addr, target net.Addr) (net.Conn, error) {
	refuse := func(cause error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Source: nil, Addr: target, Err: cause}
	}
	switch {
	case m == nil:
		return nil, refuse(syscall.EHOSTUNREACH)
	case !m.up(s.now()):
		return nil, refuse(syscall.ECONNREFUSED)
	}
	if _, err := m.ready(ctx); err != nil {
		return nil, refuse(fmt.Errorf("%w: %w", syscall.ECONNREFUSED, err))
	}
	remote, local := net.TCPAddrFromAddrPort(to), net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 40000))
	client, server := memconn.Pipe(local, remote)
	// The connection is the machine's: it lives as long as both want it.
	if !m.serve(context.WithoutCancel(ctx), server) {
		return nil, refuse(syscall.ECONNREFUSED)
	}
	return client, nil
}

// address is the address that host stands for.
func (i *instance) address(host string) netip.Addr {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr
	}
	return i.privateIP
}

// reach is the instance's machine, nil when it is off, and whether its
// security groups let a TCP connection in.
func (i *instance) reach(from netip.Addr, port int) (*machine, bool) {
	i.region.mu.Lock()
	defer i.region.mu.Unlock()
	now := i.region.server.now()
	i.region.sweep(now)
	if code := i.phase.code(now); i.machine == nil || code != pending && code != running {
		return nil, false
	}
	for _, g := range i.groups {
		if g.admits(i.region, from, port) {
			return i.machine, true
		}
	}
	return i.machine, false
}
