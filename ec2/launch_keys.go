package ec2

import (
	"context"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// keys are the keys created for one instance: the host key that is injected and
// pinned, and the client key that logs in. They are useless without the instance.
// EC2 key pairs and the caller's own keys are not among them.
type keys struct {
	HostPrivate   string `json:"host_private,omitempty"`
	HostPublic    string `json:"host_public,omitempty"` // or the keys read from the console
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
