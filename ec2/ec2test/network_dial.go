package ec2test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"github.com/bakestone-go/bakestone/internal/memconn"
)

const sshPort = 22

// SourceAddress returns the address from which [Server.Dial] connects, as
// security groups see it: 127.0.0.1. It never fails.
func (s *Server) SourceAddress(context.Context) (netip.Addr, error) {
	return s.source(), nil
}

func (s *Server) source() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// DialPort returns a func for ec2.CloudOptions.Dial that reaches the machines of a server
// in another process, which has Options.Listen: it connects to the given port of the
// machine, Options.Port, instead of the one that is asked for. Zero means 2222.
func DialPort(port int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if port == 0 {
		port = defaultPort
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
			return nil, &net.AddrError{Err: "not a machine of an embedded EC2", Addr: addr}
		}
		return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
	}
}

// Dial connects to port 22 of an instance by any of its IP addresses or DNS
// names, private or public. The connection is in memory, and comes from
// SourceAddress, or from ::1 for an IPv6 address.
//
// Failures are those of a real network. An address without a running instance
// is unreachable, and an instance that is still booting refuses. If the
// instance's security groups do not admit SourceAddress, or its public address
// is dialed and its subnet has no route to an internet gateway, Dial waits until
// ctx is done.
func (s *Server) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.dialFrom(ctx, nil, network, addr)
}

// DialInstance connects to port 22 of an instance by its id, as a session of
// the SSM agent does. It needs neither an address nor a security group rule. It
// fails while the instance is off or booting.
func (s *Server) DialInstance(ctx context.Context, id string) (net.Conn, error) {
	for _, r := range s.existing() {
		r.mu.Lock()
		i, ok := r.instances.get(id)
		r.mu.Unlock()
		if ok {
			m, _ := i.reach(netip.IPv6Loopback(), i.privateIP, sshPort)
			return s.connect(ctx, m, netip.AddrPortFrom(netip.IPv6Loopback(), sshPort), netip.IPv6Loopback(), memconn.Addr(id))
		}
	}
	return nil, &net.OpError{Op: "dial", Net: "ssm", Addr: memconn.Addr(id), Err: syscall.EHOSTUNREACH}
}

// dialFrom is Dial from an instance, or from SourceAddress if it is nil.
func (s *Server) dialFrom(ctx context.Context, near *instance, network, addr string) (net.Conn, error) {
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
	i, to := s.network.at(host, near)
	if i == nil {
		return nil, refuse(syscall.EHOSTUNREACH)
	}
	from := s.source()
	switch {
	case to.Is6():
		from = netip.IPv6Loopback()
	case near != nil:
		from = near.privateIP
	}
	m, allowed := i.reach(from, to, s.portsOf(int(port))...)
	switch {
	case m == nil:
		return nil, refuse(syscall.EHOSTUNREACH)
	case port != sshPort && (!s.opts.Listen || int(port) != s.opts.Port):
		return nil, refuse(syscall.ECONNREFUSED)
	case !allowed:
		select {
		case <-ctx.Done():
			return nil, refuse(context.Cause(ctx))
		case <-s.closing:
			return nil, refuse(net.ErrClosed)
		}
	}
	return s.connect(ctx, m, netip.AddrPortFrom(to, sshPort), from, target)
}

// connect connects to a machine, which is nil if the instance is off.
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
	if err := m.ready(ctx); err != nil {
		return nil, refuse(fmt.Errorf("%w: %w", syscall.ECONNREFUSED, err))
	}
	remote, local := net.TCPAddrFromAddrPort(to), net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 40000))
	client, server := memconn.Pipe(local, remote)
	// The connection lives as long as both ends want it.
	if !m.serve(context.WithoutCancel(ctx), server) {
		return nil, refuse(syscall.ECONNREFUSED)
	}
	return client, nil
}

// portsOf returns the ports to look for in security groups when port is dialed.
// With Options.Listen, the port on which instances listen stands for port 22.
func (s *Server) portsOf(port int) []int {
	if s.opts.Listen && port == s.opts.Port && port != sshPort {
		return []int{port, sshPort}
	}
	return []int{port}
}

// reach returns the instance's machine, nil if it is off, and reports whether
// its network and security groups admit a TCP connection to any of the ports of
// one of its addresses.
func (i *instance) reach(from, to netip.Addr, ports ...int) (*machine, bool) {
	i.region.mu.Lock()
	defer i.region.mu.Unlock()
	now := i.region.server.now()
	i.region.sweep(now)
	if code := i.phase.code(now); i.machine == nil || code != pending && code != running {
		return nil, false
	}
	if from == i.region.server.source() && to == i.publicIP && !i.region.isPublic(i.subnet, from) {
		return i.machine, false
	}
	for _, g := range i.groups {
		if slices.ContainsFunc(ports, func(port int) bool { return g.admits(from, port) }) {
			return i.machine, true
		}
	}
	return i.machine, false
}
