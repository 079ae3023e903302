package ec2

import (
	"context"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// keys are made for one instance and worth nothing without it: the host key
// that we inject and pin, and the client key that logs in. No key pair of
// EC2's is involved. What the caller has of his own is not among them.
type keys struct {
	HostPrivate   string `json:"host_private,omitempty"`
	HostPublic    string `json:"host_public,omitempty"` // or what the console shows
	ClientPrivate string `json:"client_private,omitempty"`
	ClientPublic  string `json:"client_public,omitempty"`
}

func (s *session) makeKeys(context.Context) error { return s.newKeys() }

func (s *session) newKeys() error {
	s.Keys = keys{}
	if s.builder.SSH.HostKey == nil && !s.builder.SSH.ConsoleHostKey {
		host, err := sshmachine.NewKeyPair("")
		if err != nil {
			return err
		}
		s.Keys.HostPrivate, s.Keys.HostPublic = host.Private.Reveal(), host.AuthorizedKey
		s.run.Mask(host.Private)
	}
	if len(s.builder.SSH.Auth) == 0 {
		client, err := sshmachine.NewKeyPair("bakestone-" + s.run.ID)
		if err != nil {
			return err
		}
		s.Keys.ClientPrivate, s.Keys.ClientPublic = client.Private.Reveal(), client.AuthorizedKey
		s.run.Mask(client.Private)
	}
	return nil
}
