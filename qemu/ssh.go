package qemu

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/guest"
)

// An SSH configures the login. The zero value uses keys that are created for the build
// and given to the guest by its seed.
type SSH struct {
	// User is the login. Empty means the login recorded in the source image, or root.
	// Other logins must exist in the source, or be created by UserData; cloud-init
	// gives the key to its default user and to root.
	User string

	// Auth logs in with keys or a password that the source knows. If empty, a key is
	// created for the build and given to the guest.
	Auth []sshmachine.Auth

	// HostKey verifies the guest's host key. If nil, a host key is created for the
	// build and given to the guest. If images have Checks, keep a given key in the
	// image with GuestCleanup.Keep.
	HostKey sshmachine.HostKeyPolicy

	// Configure may change the configuration of each connection before it is
	// opened, such as its keep-alive interval and timeouts. If nil, it stays as
	// it is.
	Configure func(*sshmachine.Config)

	// SudoPassword is sent to sudo when it asks for a password.
	SudoPassword bake.Secret

	// ConnectTimeout limits the time from the start of the machine until it accepts
	// SSH logins. Zero means ten minutes.
	ConnectTimeout time.Duration
}

const defaultConnectTimeout = 10 * time.Minute

func (c SSH) connectTimeout() time.Duration { return cmp.Or(c.ConnectTimeout, defaultConnectTimeout) }

func (b Builder) validateSSH() []error {
	var errs []error
	if b.SSH.ConnectTimeout < 0 {
		errs = append(errs, bake.Invalid("Builder.SSH.ConnectTimeout", "must not be negative"))
	}
	if b.SSH.Configure != nil {
		return errs // it may set what is missing
	}
	pair, err := sshmachine.NewKeyPair("")
	if err != nil {
		return append(errs, err)
	}
	config := &sshmachine.Config{Addr: "127.0.0.1", User: "login", Auth: b.SSH.Auth, HostKey: b.SSH.HostKey}
	if len(config.Auth) == 0 {
		config.Auth = []sshmachine.Auth{sshmachine.Signer(pair.Signer)}
	}
	if config.HostKey == nil {
		config.HostKey = sshmachine.FixedHostKey(pair.Signer.PublicKey())
	}
	if err := config.Validate(); err != nil {
		errs = append(errs, bake.Invalid("Builder.SSH", "%w", err))
	}
	return errs
}

const rootLogin = "root"

// makeKeys creates the keys that the caller does not provide, and the mark by which the
// machine is recognized.
func (s *session) makeKeys(context.Context) error {
	s.Keys, s.Machine.Mark = guest.Keys{}, newMark()
	if s.builder.SSH.HostKey == nil {
		if err := s.Keys.AddHostKeys(s.run); err != nil {
			return err
		}
	}
	if len(s.builder.SSH.Auth) == 0 {
		return s.Keys.AddClientKeys(s.run)
	}
	return nil
}

func (s *session) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Machine.Port))
}

// sshConfig returns the configuration of connections to the guest.
func (s *session) sshConfig() (*sshmachine.Config, error) {
	b := s.builder
	config := &sshmachine.Config{
		Addr:           s.address(),
		User:           s.Machine.Login,
		Auth:           b.SSH.Auth,
		HostKey:        b.SSH.HostKey,
		SudoPassword:   b.SSH.SudoPassword,
		ConnectTimeout: b.SSH.connectTimeout(),
		Dial:           dialGuest,
		Mark:           s.run.CommandMark,
		EndMarked:      s.run.LeftMark(),
		Clock:          s.run.Clock,
		Logger:         s.run.Log,
	}
	if err := s.Keys.Complete(config); err != nil {
		return nil, err
	}
	if b.SSH.Configure != nil {
		b.SSH.Configure(config)
	}
	return config, nil
}

// Connect waits until the guest accepts SSH logins and returns a connection. A resumed
// build starts a machine that has ended with the earlier process again.
func (s *session) Connect(ctx context.Context) (bake.Machine, error) {
	if s.resumed {
		if err := s.startMachine(ctx); err != nil {
			return nil, err
		}
	}
	m, err := s.connect(ctx, s.builder.SSH.connectTimeout())
	if err != nil {
		return nil, err
	}
	if err := s.keepIgnition(ctx, m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	s.Machine.Fresh = false
	s.resumed = false // no later step has been begun before
	return m, nil
}

func (s *session) connect(ctx context.Context, timeout time.Duration) (bake.Machine, error) {
	config, err := s.sshConfig()
	if err != nil {
		return nil, err
	}
	if timeout != s.builder.SSH.connectTimeout() {
		config.ConnectTimeout, config.AuthGrace = timeout, reopenGrace
	}
	s.booting = true
	defer func() { s.booting = false }()
	var m *sshmachine.Machine
	err = s.during(ctx, func(ctx context.Context) (err error) {
		m, err = sshmachine.Connect(ctx, config)
		return err
	})
	if err != nil {
		return nil, s.unreachable(ctx, err)
	}
	return guest.Watch(m, s.during), nil
}

// unreachable adds the end of the console to the error of a first connection.
func (s *session) unreachable(ctx context.Context, err error) error {
	if _, ended := errors.AsType[*MachineError](err); ended || ctx.Err() != nil {
		return err
	}
	state := "running but not reachable over SSH"
	if refused, ok := errors.AsType[*sshmachine.AuthError](err); ok {
		state = "refusing the login " + refused.User + " (Builder.SSH.User)"
	}
	return s.machineError(state, err)
}

// A guest that another process began to clean may accept no more logins: its host keys
// or the login's key are gone. A guest that is untouched accepts them at once.
const (
	reopenTimeout = 20 * time.Second
	reopenGrace   = 5 * time.Second
)

// KeptMachine returns how to connect to the machine.
func (s *session) KeptMachine() bake.KeptMachine {
	s.run.Say("the machine's screen, for VNC: unix:%s", s.path(screenName))
	return bake.KeptMachine{
		Machine:   s.run.ID,
		Address:   s.address(),
		User:      s.Machine.Login,
		Key:       bake.NewSecret(s.Keys.ClientPrivate),
		HostKey:   s.Keys.HostKeys(),
		Expires:   s.run.Expires,
		Resources: []bake.Resource{{Kind: "machine", ID: s.run.ID}, {Kind: "disk", ID: s.path(diskName)}},
	}
}
