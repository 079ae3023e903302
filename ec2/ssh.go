package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// An SSH says how to reach the instance. The zero value connects to port 22 of
// Builder.Address, with keys that are made for the build and injected through
// the user data. An instance of a private subnet, by a bastion:
//
//	ec2.Builder{
//		…
//		PublicIP: ec2.No,
//		Address:  ec2.PrivateAddress,
//		SSHFrom:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}, // where the bastion is
//		SSH: ec2.SSH{Via: []sshmachine.Hop{{
//			Addr: "bastion.example.com", User: "ops",
//			Auth:    []sshmachine.Auth{sshmachine.AgentSocket("")},
//			HostKey: sshmachine.KnownHosts("known_hosts"),
//		}}},
//	}
type SSH struct {
	// Port is where the instance's sshd listens. Zero is 22.
	Port int

	// Auth, when set, is how to log in: with keys or an agent of the caller's
	// that the image knows. No key is then made and injected.
	Auth []sshmachine.Auth

	// KeyPair is the name of an EC2 key pair whose public half EC2 gives the
	// instance, besides the keys that we inject; Auth then logs in with its
	// private half. It stays in the AMI, unless Hygiene.Also has AuthorizedKeys.
	// Empty is none: an account that demands one is the reason to have it.
	KeyPair string

	// HostKey, when set, says which host key is the instance's: one that the
	// image is known to have ([sshmachine.FixedHostKey]), or any that an authority has
	// signed for its address ([sshmachine.HostCA]). None is then injected. Keep
	// such a key in the AMI with Hygiene.Keep, if its machines are checked.
	HostKey sshmachine.HostKeyPolicy

	// ConsoleHostKey takes the host keys that cloud-init prints to the console,
	// read over the API of AWS, for images whose cloud-init does not take ours.
	// EC2 shows them up to some minutes late on types that are not Nitro.
	ConsoleHostKey bool

	// Via is the bastions on the way, the nearest first, and Proxy a SOCKS5
	// proxy to the first of them, or to the instance. SSHFrom must then name
	// what the instance sees, which is the last of them.
	Via   []sshmachine.Hop
	Proxy *sshmachine.Proxy

	// Dial, when set, opens the connection to the instance, in place of
	// CloudOptions.Dial and Builder.Address: for transports that need no route
	// to it, such as an SSM session. The temporary security group then lets
	// nobody in but SSHFrom.
	Dial func(ctx context.Context, to Target) (net.Conn, error)

	// Configure, when set, may change the configuration of every connection just
	// before it is made: keep-alive, sessions, patience.
	Configure func(*sshmachine.Config)
}

// A Target is the instance that SSH.Dial connects to.
type Target struct {
	Region     string
	InstanceID string
	Address    string // by Builder.Address
	Port       int
}

const (
	sshPort     = 22
	highestPort = 1<<16 - 1
)

func (c SSH) port() int { return cmp.Or(c.Port, sshPort) }

func (b Builder) validateSSH() []error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.SSH."+field, format, args...))
	}
	c := b.SSH
	if c.Port < 0 || c.Port > highestPort {
		wrong("Port", "%d is no port", c.Port)
	}
	if c.HostKey != nil && c.ConsoleHostKey {
		wrong("ConsoleHostKey", "cannot be set together with HostKey")
	}
	if c.Dial != nil && (len(c.Via) > 0 || c.Proxy != nil) {
		wrong("Dial", "connects to the instance itself: Via and Proxy cannot be set with it")
	}
	if (len(c.Via) > 0 || c.Proxy != nil) && !b.ownGroups() && len(b.SSHFrom) == 0 {
		errs = append(errs, bake.Invalid("Builder.SSHFrom", "is required with SSH.Via and SSH.Proxy: the instance sees another address than the baking host's"))
	}
	return append(errs, c.validateConfig()...)
}

// validateConfig reports what no connection could be made with: keys that
// cannot be read, bastions without a host key. What is made for the build is
// good.
func (c SSH) validateConfig() []error {
	if c.Configure != nil {
		return nil // may yet mend it
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

// sshConfig is how to connect to the instance.
func (s *session) sshConfig() (*sshmachine.Config, error) {
	b := s.builder
	config := &sshmachine.Config{
		Addr:           net.JoinHostPort(s.Instance.Address, strconv.Itoa(b.SSH.port())),
		User:           s.Source.Login,
		Auth:           b.SSH.Auth,
		HostKey:        b.SSH.HostKey,
		Via:            b.SSH.Via,
		Proxy:          b.SSH.Proxy,
		Dial:           b.Cloud.options.Dial,
		SudoPassword:   b.SudoPassword,
		ConnectTimeout: b.bootTimeout(),
		Clock:          s.run.Clock,
		Logger:         s.run.Log,
	}
	if len(config.Auth) == 0 {
		config.Auth = []sshmachine.Auth{sshmachine.PrivateKey([]byte(s.Keys.ClientPrivate), bake.Secret{})}
	}
	if config.HostKey == nil {
		known, err := hostKeys(s.Keys.HostPublic)
		if err != nil {
			return nil, err
		}
		config.HostKey = sshmachine.FixedHostKey(known...)
	}
	if b.SSH.Dial != nil {
		to := Target{Region: s.region.name, InstanceID: s.Instance.ID, Address: s.Instance.Address, Port: b.SSH.port()}
		config.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return b.SSH.Dial(ctx, to) }
	}
	if b.SSH.Configure != nil {
		b.SSH.Configure(config)
	}
	return config, nil
}

// hostKeys parses public keys, one to a line.
func hostKeys(lines string) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for rest := []byte(lines); len(rest) > 0; {
		key, _, _, left, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, err
		}
		keys, rest = append(keys, key), left
	}
	return keys, nil
}

// Connect waits until SSH answers under the right host key.
func (s *session) Connect(ctx context.Context) (bake.Machine, error) {
	config, err := s.sshConfig()
	if err != nil {
		return nil, err
	}
	m, err := sshmachine.Connect(ctx, config)
	if err != nil {
		return nil, s.unreachable(ctx, config.Addr, err)
	}
	s.resumed = false // what is made from now on was not begun before
	return m, nil
}

// unreachable adds to the error of a first connection where to look for its
// cause.
func (s *session) unreachable(ctx context.Context, addr string, err error) error {
	b := s.builder
	if refused, ok := errors.AsType[*sshmachine.AuthError](err); ok && refused.Addr == addr {
		if len(b.SSH.Auth) > 0 {
			return fmt.Errorf("%w; %s must know a key of Builder.SSH.Auth for the login %s (Builder.User)", err, s.Source.ID, refused.User)
		}
		return fmt.Errorf("%w; is that the login of %s? Builder.User sets another", err, s.Source.ID)
	}
	if ctx.Err() != nil || b.SSH.Dial != nil || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	letIn := "Builder.SSHFrom"
	if b.ownGroups() {
		letIn = "Builder.SecurityGroups"
	}
	return fmt.Errorf("no SSH within Builder.BootTimeout (%v): there must be a route to Builder.Address, and %s must let us in: %w", b.bootTimeout(), letIn, err)
}

// KeptMachine says how to reach the instance.
func (s *session) KeptMachine() bake.KeptMachine {
	k := bake.KeptMachine{
		Machine: s.Instance.ID,
		Address: s.Instance.Address,
		User:    s.Source.Login,
		Key:     bake.NewSecret(s.Keys.ClientPrivate),
		HostKey: s.Keys.HostPublic,
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

// sshFrom is who must reach the instance's port; nobody when the connection
// does not come over the network.
func (s *session) sshFrom(ctx context.Context) ([]netip.Prefix, error) {
	if len(s.builder.SSHFrom) > 0 || s.builder.SSH.Dial != nil {
		return s.builder.SSHFrom, nil
	}
	addr, err := s.region.lookups.addresses.get(ctx, "", s.builder.Cloud.options.SourceAddress)
	if err != nil {
		return nil, bake.Invalid("Builder.SSHFrom", "is not set, nor Builder.SecurityGroups, and: %w", err)
	}
	if s.builder.Address == IPv6Address && addr.Is4() {
		return nil, bake.Invalid("Builder.SSHFrom", "is required to connect to an IPv6 address: of the baking host only %v is known", addr)
	}
	return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}, nil
}
