//go:build linux

package sshmachine_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// A toldConn counts how often the kernel is told something about the connection.
type toldConn struct {
	*net.TCPConn

	told *atomic.Int64
}

func (c *toldConn) SyscallConn() (syscall.RawConn, error) {
	c.told.Add(1)
	return c.TCPConn.SyscallConn()
}

// TestLoginAcknowledges checks that the kernel is told to acknowledge at once what arrives
// during the login, and only then.
func TestLoginAcknowledges(t *testing.T) {
	cfg := sshdConfig(testenv.SSHD(t, nil))
	var told atomic.Int64
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return nil, fmt.Errorf("the dialer returned a %T", conn)
		}
		return &toldConn{tcp, &told}, nil
	}
	m := connect(t, cfg)
	login := told.Load()
	if login == 0 {
		t.Error("Connect: the kernel was never told to acknowledge at once")
	}
	if err := m.Run(t.Context(), &bake.Cmd{Line: "true"}); err != nil {
		t.Fatal(err)
	}
	if after := told.Load(); after != login {
		t.Errorf("Run: the kernel was told %d times to acknowledge at once, want 0", after-login)
	}
}
