package bake

import (
	"context"
	"errors"
	"fmt"
)

// An SSHAccess is how another program on the baking host reaches a machine over
// SSH: Ansible, rsync, scp. It may log in by whatever is set of Key, Agent and
// Password.
type SSHAccess struct {
	// Host and Port are where to connect to. When the way to the machine leads
	// through bastions, a proxy or a dial func of the caller's, they are those of
	// a relay on the baking host's loopback, which passes bytes on and sees
	// nothing of what they say.
	Host string
	Port int

	// User is the login.
	User string

	// KnownHosts is the content of a known_hosts file that holds the machine's
	// host key, and no other.
	KnownHosts string

	// Key is a private key in PEM, without a passphrase, and Certificate, when
	// not empty, what an authority says of it, as in a "-cert.pub" file.
	Key         Secret
	Certificate string

	// Agent is the path of the socket of an SSH agent.
	Agent string

	// Password is the login's password.
	Password Secret

	// SudoPassword is what sudo on the machine wants to be told.
	SudoPassword Secret

	// Mark is the name and value of an environment variable, "NAME=VALUE".
	// Commands that are run on the machine with it ("env NAME=VALUE command")
	// are killed when the context ends, with all that they have started: to
	// lose its connection ends no command on a machine. Empty is a machine that
	// cannot do so.
	Mark string
}

// An SSHReacher is a Machine that other programs can reach over SSH.
type SSHReacher interface {
	// ReachSSH calls use with the machine's access, which holds until use
	// returns or ctx ends. What then still runs with access.Mark on the machine
	// is killed if ctx has ended. The error is that of use, or that there is no
	// access.
	ReachSSH(ctx context.Context, use func(ctx context.Context, access SSHAccess) error) error
}

// ErrNoSSH is a machine that is not reached over SSH, or whose login cannot be
// handed on to another program.
var ErrNoSSH = errors.New("other programs cannot reach the machine over SSH")

// ReachSSH calls use with the SSH access of m, for provisioners that run
// another program against the machine from the baking host. Without access the
// error is ErrNoSSH.
func ReachSSH(ctx context.Context, m Machine, use func(ctx context.Context, access SSHAccess) error) error {
	r, ok := As[SSHReacher](m)
	if !ok {
		return fmt.Errorf("%w: it is a %T", ErrNoSSH, m)
	}
	return r.ReachSSH(ctx, use)
}

// ReachSSH hands on the access of the machine behind o, whose secrets are
// masked from then on.
func (o *observed) ReachSSH(ctx context.Context, use func(context.Context, SSHAccess) error) error {
	return ReachSSH(ctx, o.machine, func(ctx context.Context, access SSHAccess) error {
		o.run.Mask(access.Key, access.Password, access.SudoPassword)
		return use(ctx, access)
	})
}
