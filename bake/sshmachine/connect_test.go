package sshmachine_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// A fault is the result of an attempt to connect to a machine.
type fault func(h *host) (net.Conn, error)

// dialAfter returns a dial func that returns each of the faults once and then
// connects to h.
func (h *host) dialAfter(faults ...fault) func(context.Context, string, string) (net.Conn, error) {
	var attempt atomic.Int32
	return func(context.Context, string, string) (net.Conn, error) {
		if n := int(attempt.Add(1)); n <= len(faults) {
			return faults[n-1](h)
		}
		a, b := newPipe()
		go h.serve(b)
		return a, nil
	}
}

func refused(*host) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
}

// reset returns a connection that is closed before the server sends its banner.
func reset(*host) (net.Conn, error) {
	a, b := newPipe()
	return a, b.Close()
}

// silent returns a connection on which the server sends nothing.
func silent(*host) (net.Conn, error) {
	a, _ := newPipe()
	return a, nil
}

// unknownKey returns a connection on which h does not accept the client's key.
func unknownKey(h *host) (net.Conn, error) {
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		return nil, errors.New("not yet")
	}}
	config.AddHostKey(h.key.Signer)
	a, b := newPipe()
	go func() {
		_, _, _, _ = ssh.NewServerConn(b, config)
		_ = b.Close()
	}()
	return a, nil
}

func TestConnectRetries(t *testing.T) {
	for _, test := range []struct {
		name   string
		faults []fault
		waited time.Duration
	}{
		{name: "ready", waited: 0},
		{name: "refused", faults: []fault{refused, refused, refused}, waited: 1500 * time.Millisecond},
		{name: "reset", faults: []fault{reset, reset}, waited: time.Second},
		{name: "silent", faults: []fault{silent}, waited: 20500 * time.Millisecond},
		{name: "key not installed", faults: []fault{unknownKey, unknownKey, unknownKey}, waited: 3500 * time.Millisecond},
		{name: "all", faults: []fault{refused, silent, reset, unknownKey, refused}, waited: 22500 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, began := newHost(t), time.Now()
				cfg := h.configFor("192.0.2.1")
				cfg.Dial = h.dialAfter(test.faults...)
				m, err := sshmachine.Connect(t.Context(), cfg)
				must(t, err)
				if waited := time.Since(began); waited != test.waited {
					t.Errorf("Connect took %v, want %v", waited, test.waited)
				}
				must(t, m.Close())
				h.drop()
			})
		})
	}
}

func TestConnectGivesUp(t *testing.T) {
	other, err := sshmachine.NewKeyPair("")
	must(t, err)
	cause := errors.New("the instance is gone")
	for _, test := range []struct {
		name   string
		fault  fault
		change func(*sshmachine.Config)
		check  func(error) bool
		after  time.Duration
	}{
		{
			name: "never up", fault: refused, after: 5 * time.Minute,
			check: func(err error) bool {
				return errors.Is(err, context.DeadlineExceeded) && errors.Is(err, syscall.ECONNREFUSED)
			},
		},
		{
			name: "key never installed", fault: unknownKey, after: 57500 * time.Millisecond,
			check: func(err error) bool { var refused *sshmachine.AuthError; return errors.As(err, &refused) },
		},
		{
			name: "no grace", fault: unknownKey, change: func(c *sshmachine.Config) { c.AuthGrace = -1 },
			check: func(err error) bool {
				var refused *sshmachine.AuthError
				return errors.As(err, &refused) && refused.User == "me"
			},
		},
		{
			name:   "wrong host key",
			change: func(c *sshmachine.Config) { c.HostKey = sshmachine.FixedHostKey(other.Signer.PublicKey()) },
			check: func(err error) bool {
				var wrong *sshmachine.HostKeyError
				return errors.As(err, &wrong) && strings.HasPrefix(wrong.Fingerprint, "SHA256:")
			},
		},
		{
			name: "canceled", fault: silent, after: 3 * time.Second,
			check: func(err error) bool { return errors.Is(err, cause) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, began := newHost(t), time.Now()
				cfg := h.configFor("192.0.2.1")
				cfg.Dial = h.dialAfter()
				if test.fault != nil {
					cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return test.fault(h) }
				}
				if test.change != nil {
					test.change(cfg)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if test.name == "canceled" {
					timer := time.AfterFunc(test.after, func() { cancel(cause) })
					defer timer.Stop()
				}
				_, err := sshmachine.Connect(ctx, cfg)
				if !test.check(err) {
					t.Errorf("Connect = %v", err)
				}
				if took := time.Since(began); took != test.after {
					t.Errorf("Connect failed after %v, want %v", took, test.after)
				}
				h.drop()
			})
		})
	}
}
