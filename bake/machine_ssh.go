package bake

import (
	"context"
	"errors"
	"fmt"
)

// An SSHAccess tells another program on the baking host, such as Ansible or rsync,
// how to reach a machine over SSH. Any of Key, Agent and Password that is set can be
// used to log in.
type SSHAccess struct {
	// Host and Port are the address to connect to. If the machine is reached through
	// bastions, a proxy or a dial func, it is the address of a relay on the baking
	// host's loopback interface, which forwards the encrypted bytes.
	Host string
	Port int

	// User is the login.
	User string

	// KnownHosts is the content of a known_hosts file with only the machine's host
	// key.
	KnownHosts string

	// Key is a private key in PEM format without a passphrase. Certificate, if not
	// empty, is its certificate in the format of a "-cert.pub" file.
	Key         Secret
	Certificate string

	// Agent is the path of an SSH agent's socket.
	Agent string

	// Password is the login's password.
	Password Secret

	// SudoPassword is the password for sudo on the machine.
	SudoPassword Secret

	// Mark is an environment variable, "NAME=VALUE". When the context ends, processes
	// on the machine that have it in their environment ("env NAME=VALUE command") are
	// killed, since dropping the connection does not stop a remote command. It is
	// empty if the machine does not support this.
	Mark string
}

// An SSHReacher is a Machine that other programs can reach over SSH. Callers use the
// function [ReachSSH].
type SSHReacher interface {
	// ReachSSH calls use with access to the machine, which is valid until use returns
	// or ctx ends. If ctx ends, processes marked with access.Mark are killed. The
	// error is that of use, or wraps ErrNoSSH.
	ReachSSH(ctx context.Context, use func(ctx context.Context, access SSHAccess) error) error
}

// ErrNoSSH is returned, wrapped, by ReachSSH for a machine that is not reached over
// SSH or whose login cannot be shared with another program.
var ErrNoSSH = errors.New("other programs cannot reach the machine over SSH")

// ReachSSH calls use with SSH access to m, for provisioners that run another program
// against the machine from the baking host. If m is not an SSHReacher, the error
// wraps ErrNoSSH.
func ReachSSH(ctx context.Context, m Machine, use func(ctx context.Context, access SSHAccess) error) error {
	r, ok := As[SSHReacher](m)
	if !ok {
		return fmt.Errorf("%w: %T has no SSH access", ErrNoSSH, m)
	}
	return r.ReachSSH(ctx, use)
}

// ReachSSH passes on access to the underlying machine and masks its secrets.
func (o *observed) ReachSSH(ctx context.Context, use func(context.Context, SSHAccess) error) error {
	return ReachSSH(ctx, o.machine, func(ctx context.Context, access SSHAccess) error {
		o.run.Mask(access.Key, access.Password, access.SudoPassword)
		return use(ctx, access)
	})
}
