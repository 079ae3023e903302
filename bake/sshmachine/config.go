package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Defaults of Config.
const (
	defaultPort           = "22"
	defaultKeepAlive      = 15 * time.Second
	defaultMaxMissed      = 4
	defaultConnectTimeout = 5 * time.Minute
	defaultAttemptTimeout = 20 * time.Second
	defaultRetryInterval  = 500 * time.Millisecond
	defaultAuthGrace      = time.Minute
	defaultMaxSessions    = 8 // OpenSSH allows 10; the rest is for killing
)

// A Config says how to reach a machine. Addr, User, Auth and HostKey are
// required.
type Config struct {
	// Addr is the machine's "host:port". Without a port it is 22.
	Addr string

	// User is the login.
	User string

	// Auth is the ways to prove who we are: keys first, then the agent, then
	// passwords, each in the given order.
	Auth []Auth

	// HostKey says which host key is the machine's.
	HostKey HostKeyPolicy

	// Via is the bastions on the way, the nearest first. Addr is reached from
	// the last one.
	Via []Hop

	// Proxy, when set, is a SOCKS5 proxy to the first hop, or to Addr.
	Proxy *Proxy

	// Dial makes the first network connection: to the proxy, the first hop, or
	// Addr. Nil is a net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// SudoPassword is what sudo is told when it wants a password.
	SudoPassword bake.Secret

	// KeepAlive is the time between two signs of life asked of the machine, by
	// the real clock. Zero is 15 seconds, negative is never.
	KeepAliveInterval time.Duration

	// MaxMissed is how many of them in a row may be unanswered before the
	// connection counts as lost. Zero is 4.
	KeepAliveCount int

	// ConnectTimeout bounds Connect, every later connecting again, and the wait
	// of Reboot. Zero is five minutes, negative leaves it to the context.
	ConnectTimeout time.Duration

	// AttemptTimeout bounds a single attempt: dial, handshake and login through
	// all hops, by the real clock. Zero is 20 seconds.
	AttemptTimeout time.Duration

	// RetryInterval is the wait between two attempts. After a refused login it
	// doubles with every further one, to five seconds, because servers block
	// clients that try too often. Zero is half a second.
	RetryInterval time.Duration

	// AuthGrace is how long after the first refused login others are tried, for
	// a machine whose key is not installed yet. Zero is one minute, negative is
	// not at all.
	AuthGrace time.Duration

	// MaxSessions is how many sessions are open at once: one for a command, one
	// or more for a transfer; others wait. It is at least 2. Zero is 8: OpenSSH
	// allows 10, and two are kept for killing commands.
	MaxSessions int

	// Clock times the retries. Nil is the real time.
	Clock clock.Clock

	// Logger receives what is worth knowing when something goes wrong. Nil
	// discards it.
	Logger *slog.Logger
}

// A Hop is a bastion: an SSH server that connects on to the next address.
type Hop struct {
	Addr    string        // "host:port"; without a port it is 22
	User    string        // the login
	Auth    []Auth        // as in Config
	HostKey HostKeyPolicy // as in Config
}

// A Proxy is a SOCKS5 proxy.
type Proxy struct {
	Addr     string      // "host:port"
	User     string      // empty is without authentication
	Password bake.Secret // of User
}

// Validate reports everything about c that cannot work.
func (c *Config) Validate() error {
	var errs []error
	check := func(where string, h Hop) {
		if h.Addr == "" {
			errs = append(errs, bake.Invalid(where+".Addr", "is required"))
		} else if _, _, err := net.SplitHostPort(withPort(h.Addr)); err != nil {
			errs = append(errs, bake.Invalid(where+".Addr", "%w", err))
		}
		if h.User == "" {
			errs = append(errs, bake.Invalid(where+".User", "is required"))
		}
		if len(h.Auth) == 0 {
			errs = append(errs, bake.Invalid(where+".Auth", "is required"))
		}
		for _, a := range h.Auth {
			if a.err != nil {
				errs = append(errs, bake.Invalid(where+".Auth", "%w", a.err))
			}
		}
		if h.HostKey == nil {
			errs = append(errs, bake.Invalid(where+".HostKey", "is required: without one, anyone could answer as the machine"))
		} else if err := h.HostKey.valid(); err != nil {
			errs = append(errs, bake.Invalid(where+".HostKey", "%w", err))
		}
	}
	check("Config", c.target())
	for i, hop := range c.Via {
		check(fmt.Sprintf("Config.Via[%d]", i), hop)
	}
	if c.Proxy != nil && c.Proxy.Addr == "" {
		errs = append(errs, bake.Invalid("Config.Proxy.Addr", "is required"))
	}
	return errors.Join(errs...)
}

// target is the machine itself, as the last hop.
func (c *Config) target() Hop {
	return Hop{Addr: c.Addr, User: c.User, Auth: c.Auth, HostKey: c.HostKey}
}

// withDefaults returns a copy of c in which nothing is left open.
func (c *Config) withDefaults() *Config {
	d := *c
	d.Addr = withPort(d.Addr)
	d.Via = append([]Hop(nil), c.Via...)
	for i := range d.Via {
		d.Via[i].Addr = withPort(d.Via[i].Addr)
	}
	setDefault(&d.KeepAliveInterval, defaultKeepAlive)
	setDefault(&d.KeepAliveCount, defaultMaxMissed)
	setDefault(&d.ConnectTimeout, defaultConnectTimeout)
	setDefault(&d.AttemptTimeout, defaultAttemptTimeout)
	setDefault(&d.RetryInterval, defaultRetryInterval)
	setDefault(&d.AuthGrace, defaultAuthGrace)
	setDefault(&d.MaxSessions, defaultMaxSessions)
	d.MaxSessions = max(d.MaxSessions, 2)
	if d.Dial == nil {
		d.Dial = new(net.Dialer).DialContext
	}
	if d.Clock == nil {
		d.Clock = clock.System()
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return &d
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// withPort adds the default port to an address that has none.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	if ip := net.ParseIP(addr); ip != nil {
		return net.JoinHostPort(addr, defaultPort)
	}
	return addr + ":" + defaultPort
}
