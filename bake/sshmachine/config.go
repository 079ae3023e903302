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
	defaultMaxDownload    = 64 << 30
	defaultMaxSessions    = 8 // of the 10 that OpenSSH allows, see Config.MaxSessions
)

// A Config describes how to reach a machine. Addr, User, Auth and HostKey are
// required.
type Config struct {
	// Addr is the machine's "host:port". The default port is 22.
	Addr string

	// User is the login name.
	User string

	// Auth lists the ways to log in. Keys are tried first, then agents, then
	// passwords and questions, each in the order given.
	Auth []Auth

	// HostKey decides which host key is accepted as the machine's.
	HostKey HostKeyPolicy

	// Via lists the bastions to connect through, nearest first. Addr is dialed
	// from the last one.
	Via []Hop

	// Proxy, if set, is the SOCKS5 proxy through which the first bastion, or
	// else Addr, is dialed.
	Proxy *Proxy

	// Dial opens the network connection to the proxy, the first bastion or
	// Addr, whichever is nearest. If nil, a [net.Dialer] is used.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// SudoPassword is given to sudo if it asks for a password.
	SudoPassword bake.Secret

	// KeepAliveInterval is the time between keepalive requests, by the system
	// clock. Zero means 15 seconds; negative disables them.
	KeepAliveInterval time.Duration

	// KeepAliveCount is the number of intervals without a reply after which the
	// connection counts as lost. Zero means 4.
	KeepAliveCount int

	// ConnectTimeout limits Connect, each later reconnection, and the wait of
	// Reboot. Zero means five minutes; negative means no limit but the context.
	ConnectTimeout time.Duration

	// AttemptTimeout limits each connection attempt, that is dial, handshake and
	// login at every hop, by the system clock. Zero means 20 seconds.
	AttemptTimeout time.Duration

	// RetryInterval is the wait between attempts. It doubles with each further
	// refused login, up to five seconds, because servers block clients that try
	// too often. Zero means half a second.
	RetryInterval time.Duration

	// AuthGrace is how long logins are retried after the first refusal, since a
	// booting machine may not have its authorized keys yet. Zero means one
	// minute; negative means no retry.
	AuthGrace time.Duration

	// MaxSessions limits the sessions open at once; further ones wait. A command
	// needs one, a transfer one or more. Zero means 8, which leaves two of the 10
	// that OpenSSH allows for killing canceled commands. The minimum is 2.
	MaxSessions int

	// Raw allows a machine without /bin/sh: connecting does not check that commands
	// work, and only commands with Cmd.Raw set do. It is implied for Windows's
	// OpenSSH server.
	Raw bool

	// MaxDownload limits the bytes that one Get writes, whatever the machine sends.
	// Zero means 64 GiB.
	MaxDownload int64

	// Mark returns a text that all commands started from now on have in the value of
	// BAKESTONE_RUN: [bake.Run.CommandMark], for example. In it, characters other
	// than letters, digits, "-" and "_" count as "_". If nil, or if it returns "",
	// the value is random only.
	Mark func() string

	// EndMarked is the Mark of commands that a process has left behind that has
	// died: a command outlives its connection. Connect ends them, their descendants
	// and what they have started as root before it returns, and fails if it cannot.
	// Empty means that nothing is ended, as on machines without /bin/sh or /proc.
	EndMarked string

	// Clock times retries and kills. If nil, the system clock is used.
	Clock clock.Clock

	// Logger receives connection attempts and failures that no error reports.
	// If nil, they are discarded.
	Logger *slog.Logger
}

// A Hop is a bastion: an SSH server that forwards to the next address.
type Hop struct {
	Addr    string        // "host:port"; the default port is 22
	User    string        // login name
	Auth    []Auth        // as in Config
	HostKey HostKeyPolicy // as in Config
}

// A Proxy is a SOCKS5 proxy.
type Proxy struct {
	Addr     string      // "host:port"
	User     string      // empty means no authentication
	Password bake.Secret // the password of User
}

// Validate reports every missing or invalid field of c, joined.
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
			errs = append(errs, bake.Invalid(where+".HostKey", "is required: without it, anyone could impersonate the machine"))
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
	if c.MaxDownload < 0 {
		errs = append(errs, bake.Invalid("Config.MaxDownload", "%d is negative", c.MaxDownload))
	}
	return errors.Join(errs...)
}

// target returns the machine itself as a Hop.
func (c *Config) target() Hop {
	return Hop{Addr: c.Addr, User: c.User, Auth: c.Auth, HostKey: c.HostKey}
}

// withDefaults returns a copy of c with defaults for all optional fields.
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
	setDefault(&d.MaxDownload, defaultMaxDownload)
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

// withPort adds the default port to addr unless it has one.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	if ip := net.ParseIP(addr); ip != nil {
		return net.JoinHostPort(addr, defaultPort)
	}
	return addr + ":" + defaultPort
}
