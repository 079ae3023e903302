package ec2

import (
	"context"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// keys are made for one instance and worth nothing without it: the host key
// that we inject and pin, and the client key that logs in. No key pair of
// EC2's is involved.
type keys struct {
	HostPrivate   string `json:"host_private"`
	HostPublic    string `json:"host_public"`
	ClientPrivate string `json:"client_private"`
	ClientPublic  string `json:"client_public"`
}

func (s *session) makeKeys(context.Context) error {
	host, err := sshmachine.NewKeyPair("")
	if err != nil {
		return err
	}
	client, err := sshmachine.NewKeyPair("bakestone-" + s.run.ID)
	if err != nil {
		return err
	}
	s.Keys = keys{
		HostPrivate: host.Private.Reveal(), HostPublic: host.AuthorizedKey,
		ClientPrivate: client.Private.Reveal(), ClientPublic: client.AuthorizedKey,
	}
	s.run.Mask(host.Private, client.Private)
	return nil
}
