package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// maxAuthWait limits the growing wait between refused logins. OpenSSH 9.8 adds
// five seconds of penalty for each.
const maxAuthWait = 5 * time.Second

// Connect waits until the machine accepts a login, and returns it. It retries
// connections that are refused, reset or silent and, within Config.AuthGrace,
// refused logins and logins that run no command. It never retries after a host key
// mismatch, reported as a [*HostKeyError], nor if commands run but not as they
// should, reported as a [*ShellError].
func Connect(ctx context.Context, cfg *Config) (*Machine, error) {
	if cfg == nil {
		return nil, bake.Invalid("Config", "is required")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg: cfg.withDefaults(), direct: cfg.Dial == nil && cfg.Proxy == nil && len(cfg.Via) == 0,
		connecting: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	c, err := m.conn(ctx)
	if err == nil {
		err = c.endMarked(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// connect retries until it has a connection.
func connect(ctx context.Context, cfg *Config) (*conn, error) {
	if cfg.ConnectTimeout > 0 {
		limited, stop := clock.WithTimeout(ctx, cfg.Clock, cfg.ConnectTimeout)
		defer stop()
		ctx = limited
	}
	var last error
	var refusedSince time.Time
	wait := cfg.RetryInterval
	for attempt := 1; ; attempt++ {
		c, err := connectOnce(ctx, cfg)
		if err == nil {
			cfg.Logger.DebugContext(ctx, "connected", slog.String("addr", cfg.Addr), slog.Int("attempt", attempt))
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, giveUpError(ctx, cfg, attempt, errors.Join(last, err))
		}
		last = err
		var refused *AuthError
		switch {
		case permanent(err):
			return nil, fmt.Errorf("connect to %s: %w", cfg.Addr, err)
		case errors.As(err, &refused):
			now := cfg.Clock.Now()
			if refusedSince.IsZero() {
				refusedSince = now
			} else {
				wait = min(2*wait, max(maxAuthWait, cfg.RetryInterval))
			}
			if now.Sub(refusedSince)+wait > cfg.AuthGrace {
				return nil, fmt.Errorf("connect to %s: %w", cfg.Addr, err)
			}
		default:
			wait, refusedSince = cfg.RetryInterval, time.Time{} // the machine may boot again
		}
		cfg.Logger.DebugContext(ctx, "connection attempt failed", slog.String("addr", cfg.Addr), slog.Any("error", err), slog.Duration("wait", wait))
		if cfg.Clock.Sleep(ctx, wait) != nil {
			return nil, giveUpError(ctx, cfg, attempt, last)
		}
	}
}

func giveUpError(ctx context.Context, cfg *Config, attempts int, last error) error {
	return fmt.Errorf("connect to %s: %w after %d attempts, last error: %w", cfg.Addr, context.Cause(ctx), attempts, last)
}

// connectOnce logs in once and checks that the login can run commands.
func connectOnce(ctx context.Context, cfg *Config) (*conn, error) {
	r, err := attemptOnce(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c := newConn(ctx, cfg, r)
	if c.raw() {
		return c, nil
	}
	if err := c.probe(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// raw reports whether the machine may have no /bin/sh.
func (c *conn) raw() bool {
	return c.cfg.Raw || strings.Contains(string(c.client.ServerVersion()), "for_Windows")
}

// probe runs a first command, which also reads the machine's facts. A login that
// cannot run commands is reported as an AuthError, because that may change while the
// machine boots.
func (c *conn) probe(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, c.cfg.AttemptTimeout, errAttemptTimeout)
	defer cancel()
	err := withinGrace(limited, func() error {
		_, err := c.guestInfo(limited)
		return err
	})
	refuse := func(err error) error { return &AuthError{Addr: c.cfg.Addr, User: c.cfg.User, Err: err} }
	_, notBegun := errors.AsType[*NotBegunError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case notBegun:
		return refuse(err)
	case errors.Is(err, errAttemptTimeout):
		return refuse(fmt.Errorf("login shell or its start-up files ran no command within %v", c.cfg.AttemptTimeout))
	case errors.Is(err, bake.ErrDisconnected):
		return refuse(fmt.Errorf("server hung up after the login: %w", err))
	}
	return err
}

func attemptOnce(ctx context.Context, cfg *Config) (*route, error) {
	limited, cancel := context.WithTimeoutCause(ctx, cfg.AttemptTimeout, errAttemptTimeout)
	defer cancel()
	return dial(limited, cfg)
}

var errAttemptTimeout = errors.New("attempt timed out")

// permanent reports whether retrying after err is pointless.
func permanent(err error) bool {
	var key *HostKeyError
	var algorithms *ssh.AlgorithmNegotiationError
	var shell *ShellError
	return errors.As(err, &key) || errors.As(err, &algorithms) || errors.As(err, &shell) || errors.Is(err, errLongAnswer)
}
