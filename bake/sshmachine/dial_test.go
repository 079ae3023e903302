package sshmachine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// relay listens for the duration of a test, calls handle with each connection, and
// returns its address.
func relay(t testing.TB, handle func(conn net.Conn)) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// join copies data between two connections until one ends.
func join(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = a.Close()
			_ = b.Close()
		})
	}
	wg.Wait()
}

func TestVia(t *testing.T) {
	target, near, far := testenv.SSHD(t, nil), testenv.SSHD(t, nil), testenv.SSHD(t, nil)
	hop := func(s *testenv.Server) sshmachine.Hop {
		cfg := sshdConfig(s)
		return sshmachine.Hop{Addr: cfg.Addr, User: cfg.User, Auth: cfg.Auth, HostKey: cfg.HostKey}
	}
	cfg := sshdConfig(target)
	cfg.Via = []sshmachine.Hop{hop(near), hop(far)}
	var dialed []string
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialed = append(dialed, addr)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	m := connect(t, cfg)
	if got := runOutput(t, m, bake.Sh("echo $SSH_CONNECTION")); !strings.HasSuffix(target.Addr, got[strings.LastIndexByte(got, ' ')+1:]) {
		t.Errorf("SSH_CONNECTION = %q, want the address %s", got, target.Addr)
	}
	if len(dialed) != 1 || dialed[0] != near.Addr {
		t.Errorf("dialed %q, want only %s", dialed, near.Addr)
	}
	far.Drop() // must reconnect
	for m.Run(t.Context(), bake.Sh("true")) != nil {
	}

	// Another machine behind the bastions is rejected.
	other := *cfg
	other.Addr = testenv.SSHD(t, nil).Addr
	var refused *sshmachine.HostKeyError
	if _, err := sshmachine.Connect(t.Context(), &other); !errors.As(err, &refused) || refused.Addr != other.Addr {
		t.Errorf("Connect = %v, want a HostKeyError for %s", err, other.Addr)
	}

	// A bastion with the wrong host key is rejected.
	cfg.Via = []sshmachine.Hop{hop(near), hop(far)}
	cfg.Via[1].HostKey = cfg.Via[0].HostKey
	if _, err := sshmachine.Connect(t.Context(), cfg); !errors.As(err, &refused) || refused.Addr != far.Addr {
		t.Errorf("Connect = %v, want a HostKeyError for %s", err, far.Addr)
	}
}

func TestProxy(t *testing.T) {
	server := testenv.SSHD(t, nil)
	var used atomic.Int32
	addr := relay(t, func(conn net.Conn) {
		if to, err := socks(conn, "me", "secret"); err == nil {
			used.Add(1)
			if on, err := new(net.Dialer).DialContext(t.Context(), "tcp", to); err == nil {
				join(conn, on)
			}
		}
	})
	cfg := sshdConfig(server)
	cfg.Proxy = &sshmachine.Proxy{Addr: addr, User: "me", Password: bake.NewSecret("secret")}
	must(t, connect(t, cfg).Run(t.Context(), bake.Sh("true")))
	if used.Load() != 1 {
		t.Errorf("the proxy was used %d times, want 1", used.Load())
	}
	cfg.Proxy.Password = bake.NewSecret("wrong")
	cfg.ConnectTimeout = 200 * time.Millisecond
	if _, err := sshmachine.Connect(t.Context(), cfg); err == nil {
		t.Error("Connect with a wrong proxy password = nil, want an error")
	}
}

// socks runs the server's side of a SOCKS5 handshake and returns the requested
// address.
func socks(conn net.Conn, user, password string) (addr string, err error) {
	read := func(n byte) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(conn, b)
		}
		return b
	}
	say := func(b ...byte) {
		if err == nil {
			_, err = conn.Write(b)
		}
	}
	read(read(2)[1])
	say(5, 2)
	u := string(read(read(2)[1]))
	p := string(read(read(1)[0]))
	if u != user || p != password {
		say(1, 1)
		return "", errors.New("wrong password")
	}
	say(1, 0)
	head := read(4)
	var name string
	if head[3] == 1 {
		name = net.IP(read(4)).String()
	} else {
		name = string(read(read(1)[0]))
	}
	port := binary.BigEndian.Uint16(read(2))
	say(5, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	return net.JoinHostPort(name, fmt.Sprint(port)), err
}
