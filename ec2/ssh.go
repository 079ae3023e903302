package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/guest"
)

// An SSH configures the login and the connection to the instance. The zero value
// connects to port 22 of the public address, or of the private address if there is
// none, with keys that are created for the build and injected through user data.
// An instance in a private subnet, through a bastion:
//
//	ec2.Builder{
//		…
//		Network: ec2.Network{PublicIP: ec2.Disabled},
//		SSH: ec2.SSH{
//			Address: ec2.PrivateAddress,
//			From:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, // the bastion's network
//			Via: []sshmachine.Hop{{
//				Addr: "bastion.example.com", User: "ops",
//				Auth:    []sshmachine.Auth{sshmachine.AgentSocket("")},
//				HostKey: sshmachine.KnownHosts("known_hosts"),
//			}},
//		},
//	}
type SSH struct {
	// User is the login on the source AMI. Empty means the login recorded in the
	// AMI's tags, or the one its vendor is known to use.
	User string

	// Address selects which of the instance's addresses to connect to. The zero
	// value is the public one, or the private one if there is none.
	Address Address

	// Port is the instance's SSH port. Zero means 22.
	Port int

	// From lists the networks that the temporary security group admits to the SSH
	// port. Empty means the baking host's address alone. It cannot be set together
	// with Network.SecurityGroups.
	From []netip.Prefix

	// Auth logs in with keys or an agent that the source AMI knows. If empty, a
	// key is created for the build and injected.
	Auth []sshmachine.Auth

	// KeyPair is the name of an EC2 key pair to launch with, for accounts that
	// demand one; Auth can then log in with its private key. EC2 adds the public
	// key to the instance besides the injected one. It stays in the AMI unless
	// GuestCleanup.Also contains AuthorizedKeys. Empty means none.
	KeyPair string

	// HostKey verifies the instance's host key: a key known to be in the source
	// AMI (sshmachine.FixedHostKey), or any key an authority has signed for its
	// address (sshmachine.HostCA). If nil, a host key is created for the build
	// and injected. If images have Checks, keep such a key in the AMI with
	// GuestCleanup.Keep.
	HostKey sshmachine.HostKeyPolicy

	// ConsoleHostKey trusts the host keys that cloud-init prints to the console,
	// read through the EC2 API, for AMIs whose cloud-init does not accept an
	// injected key. EC2 may show them minutes late on types that are not Nitro.
	ConsoleHostKey bool

	// Via lists the bastions on the way, the nearest first. Proxy is a SOCKS5
	// proxy to the first of them, or to the instance. With either, From must
	// admit the last hop.
	Via   []sshmachine.Hop
	Proxy *sshmachine.Proxy

	// Dial opens the connection to the instance in place of CloudOptions.Dial,
	// for transports that need no route to it, such as an SSM session. The
	// temporary security group then admits only From. If nil, Address is dialed.
	Dial func(ctx context.Context, to SSHTarget) (net.Conn, error)

	// Configure may change the configuration of each connection before it is
	// opened, such as its keep-alive interval and timeouts. If nil, it stays as
	// it is.
	Configure func(*sshmachine.Config)

	// SudoPassword is sent to sudo when it asks for a password.
	SudoPassword bake.Secret

	// ConnectTimeout limits the time from launch until the instance accepts SSH
	// logins. Zero means ten minutes.
	ConnectTimeout time.Duration
}

// An SSHTarget is the instance that SSH.Dial connects to.
type SSHTarget struct {
	Region     string
	InstanceID string
	Address    string // as selected by SSH.Address
	Port       int
}

const (
	sshPort               = 22
	highestPort           = 1<<16 - 1
	defaultConnectTimeout = 10 * time.Minute
)

func (c SSH) port() int { return cmp.Or(c.Port, sshPort) }

func (c SSH) connectTimeout() time.Duration { return cmp.Or(c.ConnectTimeout, defaultConnectTimeout) }

func (b Builder) validateSSH() []error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.SSH."+field, format, args...))
	}
	c := b.SSH
	b.validateAddress(invalid)
	if strings.ContainsFunc(c.User, unicode.IsSpace) {
		invalid("User", "invalid login %q", c.User)
	}
	if c.Port < 0 || c.Port > highestPort {
		invalid("Port", "invalid port %d", c.Port)
	}
	if b.Network.ownGroups() && len(c.From) > 0 {
		invalid("From", "cannot be set together with Network.SecurityGroups: it is for the temporary group")
	}
	for _, p := range c.From {
		if !p.IsValid() {
			invalid("From", "invalid network %v", p)
		}
	}
	if c.ConnectTimeout < 0 {
		invalid("ConnectTimeout", "must not be negative")
	}
	if c.HostKey != nil && c.ConsoleHostKey {
		invalid("ConsoleHostKey", "cannot be set together with HostKey")
	}
	if c.Dial != nil && (len(c.Via) > 0 || c.Proxy != nil) {
		invalid("Dial", "cannot be set together with Via and Proxy")
	}
	if (len(c.Via) > 0 || c.Proxy != nil) && !b.Network.ownGroups() && len(c.From) == 0 {
		invalid("From", "is required with Via and Proxy: the instance does not see the baking host's address")
	}
	return append(errs, c.validateConfig()...)
}

// validateConfig reports settings that every connection would fail with, such as
// unreadable keys and bastions without a host key.
func (c SSH) validateConfig() []error {
	if c.Configure != nil {
		return nil // it may set what is missing
	}
	pair, err := sshmachine.NewKeyPair("")
	if err != nil {
		return []error{err}
	}
	config := &sshmachine.Config{
		Addr: "instance", User: "login", Auth: c.Auth, HostKey: c.HostKey, Via: c.Via, Proxy: c.Proxy,
	}
	if len(config.Auth) == 0 {
		config.Auth = []sshmachine.Auth{sshmachine.Signer(pair.Signer)}
	}
	if config.HostKey == nil {
		config.HostKey = sshmachine.FixedHostKey(pair.Signer.PublicKey())
	}
	if err := config.Validate(); err != nil {
		return []error{bake.Invalid("Builder.SSH", "%w", err)}
	}
	return nil
}

// sshConfig returns the configuration of connections to the instance.
func (s *session) sshConfig() (*sshmachine.Config, error) {
	b := s.builder
	config := &sshmachine.Config{
		Addr:           net.JoinHostPort(s.Instance.Address, strconv.Itoa(b.SSH.port())),
		User:           s.Source.Login,
		Auth:           b.SSH.Auth,
		HostKey:        b.SSH.HostKey,
		Via:            b.SSH.Via,
		Proxy:          b.SSH.Proxy,
		Dial:           s.following(b.Cloud.options.Dial),
		SudoPassword:   b.SSH.SudoPassword,
		ConnectTimeout: b.SSH.connectTimeout(),
		Mark:           s.run.CommandMark,
		EndMarked:      s.run.LeftMark(),
		Clock:          s.run.Clock,
		Logger:         s.run.Log,
	}
	if err := s.Keys.Complete(config); err != nil {
		return nil, err
	}
	if b.SSH.Dial != nil {
		to := SSHTarget{Region: s.region.name, InstanceID: s.Instance.ID, Address: s.Instance.Address, Port: b.SSH.port()}
		config.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return b.SSH.Dial(ctx, to) }
	}
	if b.SSH.Configure != nil {
		b.SSH.Configure(config)
	}
	if s.reopened {
		config.ConnectTimeout, config.AuthGrace = reopenTimeout, reopenGrace
	}
	return config, nil
}

// Connect waits until the instance accepts SSH logins and returns a connection.
func (s *session) Connect(ctx context.Context) (bake.Machine, error) {
	config, err := s.sshConfig()
	if err != nil {
		return nil, err
	}
	w := watch{s.region, s.Instance.ID}
	var m *sshmachine.Machine
	err = w.during(ctx, func(ctx context.Context) (err error) {
		m, err = sshmachine.Connect(ctx, config)
		return err
	})
	if err != nil {
		return nil, s.unreachable(ctx, config.Addr, err)
	}
	s.resumed = false // no later step has been begun before
	return guest.Watch(m, w.during), nil
}

// A guest that another process began to clean may accept no more logins: its host keys
// or the login's key are gone. A guest that is untouched accepts them at once.
const (
	reopenTimeout = 20 * time.Second
	reopenGrace   = 5 * time.Second
)

// errCleaned is returned, wrapped, by a resumed build whose guest accepts no logins.
var errCleaned = errors.New("guest accepts no logins; the process that ended had perhaps begun to clean it")

// unreachable adds the likely causes to the error of a first connection.
func (s *session) unreachable(ctx context.Context, addr string, err error) error {
	b := s.builder
	if _, ended := errors.AsType[*InstanceStateError](err); ended {
		return err
	}
	if s.reopened && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", errCleaned, err)
	}
	if refused, ok := errors.AsType[*sshmachine.AuthError](err); ok && refused.Addr == addr {
		if len(b.SSH.Auth) > 0 {
			return fmt.Errorf("%w; %s must have a key of Builder.SSH.Auth for the login %s (Builder.SSH.User)", err, s.Source.ID, refused.User)
		}
		return fmt.Errorf("%w; if this is not the login of %s, set Builder.SSH.User", err, s.Source.ID)
	}
	if ctx.Err() != nil || b.SSH.Dial != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	check := "Builder.SSH.From"
	if b.Network.ownGroups() {
		check = "Builder.Network.SecurityGroups"
	}
	check = "check the route to Builder.SSH.Address, and that " + check + " admits the baking host"
	if endpoint := aws.ToString(b.Cloud.config.BaseEndpoint); endpoint != "" && !b.Cloud.dials {
		check = "the machines of the endpoint " + endpoint + " may have no address in this network: set CloudOptions.Dial"
	}
	return fmt.Errorf("no SSH connection within Builder.SSH.ConnectTimeout (%v): %s: %w", b.SSH.connectTimeout(), check, err)
}

// KeptMachine returns how to connect to the instance.
func (s *session) KeptMachine() bake.KeptMachine {
	k := bake.KeptMachine{
		Machine: s.Instance.ID,
		Address: s.Instance.Address,
		User:    s.Source.Login,
		Key:     bake.NewSecret(s.Keys.ClientPrivate),
		HostKey: s.Keys.HostKeys(),
		Expires: s.run.Expires,
	}
	if port := s.builder.SSH.port(); port != sshPort {
		k.Address = net.JoinHostPort(k.Address, strconv.Itoa(port))
	}
	k.Resources = append(k.Resources, bake.Resource{Kind: "instance", ID: s.Instance.ID})
	if s.SecurityGroup.Temporary {
		k.Resources = append(k.Resources, bake.Resource{Kind: "security group", ID: s.SecurityGroup.IDs[0]})
	}
	return k
}

// sshFrom returns the networks that the temporary security group admits; none if
// SSH.Dial connects.
func (s *session) sshFrom(ctx context.Context) ([]netip.Prefix, error) {
	if len(s.builder.SSH.From) > 0 || s.builder.SSH.Dial != nil {
		return s.builder.SSH.From, nil
	}
	addr, err := s.region.lookups.addresses.get(ctx, "", s.builder.Cloud.options.SourceAddress)
	if err != nil {
		return nil, bake.Invalid("Builder.SSH.From", "is required without Builder.Network.SecurityGroups: %w", err)
	}
	if s.builder.SSH.Address == IPv6Address && addr.Is4() {
		return nil, bake.Invalid("Builder.SSH.From", "is required with IPv6Address: the baking host's address is %v", addr)
	}
	return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}, nil
}
