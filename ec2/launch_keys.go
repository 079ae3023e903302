package ec2

import (
	"context"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// keys are the keys created for one instance: the host keys that are injected and
// pinned, and the client keys that log in. They are useless without the instance.
// EC2 key pairs and the caller's own keys are not among them.
//
// The ECDSA keys are for servers that accept no ed25519, for example because FIPS mode
// is on.
type keys struct {
	HostPrivate        string `json:"host_private,omitempty"`
	HostPublic         string `json:"host_public,omitempty"` // or the keys read from the console
	HostECDSAPrivate   string `json:"host_ecdsa_private,omitempty"`
	HostECDSAPublic    string `json:"host_ecdsa_public,omitempty"`
	ClientPrivate      string `json:"client_private,omitempty"`
	ClientPublic       string `json:"client_public,omitempty"`
	ClientECDSAPrivate string `json:"client_ecdsa_private,omitempty"`
	ClientECDSAPublic  string `json:"client_ecdsa_public,omitempty"`
}

// hostPublic returns the public host keys, one per line.
func (k keys) hostPublic() string { return strings.TrimSpace(k.HostPublic + "\n" + k.HostECDSAPublic) }

// clientBlobs returns the client's public keys without types and comments, one per
// line.
func (k keys) clientBlobs() string {
	var all []string
	for _, line := range []string{k.ClientPublic, k.ClientECDSAPublic} {
		if line != "" {
			all = append(all, keyBlob(line))
		}
	}
	return strings.Join(all, "\n")
}

// auth returns the ways to log in with the client keys.
func (k keys) auth() []sshmachine.Auth {
	var all []sshmachine.Auth
	for _, private := range []string{k.ClientPrivate, k.ClientECDSAPrivate} {
		if private != "" {
			all = append(all, sshmachine.PrivateKey([]byte(private), bake.Secret{}))
		}
	}
	return all
}

func (s *session) makeKeys(context.Context) error { return s.newKeys() }

func (s *session) newKeys() error {
	s.Keys = keys{}
	if s.builder.SSH.HostKey == nil && !s.builder.SSH.ConsoleHostKey {
		if err := s.newKeyPairs("", &s.Keys.HostPrivate, &s.Keys.HostPublic, &s.Keys.HostECDSAPrivate, &s.Keys.HostECDSAPublic); err != nil {
			return err
		}
	}
	if len(s.builder.SSH.Auth) == 0 {
		return s.newKeyPairs("bakestone-"+s.run.ID, &s.Keys.ClientPrivate, &s.Keys.ClientPublic, &s.Keys.ClientECDSAPrivate, &s.Keys.ClientECDSAPublic)
	}
	return nil
}

// newKeyPairs creates a key pair of each kind.
func (s *session) newKeyPairs(comment string, private, public, ecdsaPrivate, ecdsaPublic *string) error {
	usual, err := sshmachine.NewKeyPair(comment)
	if err != nil {
		return err
	}
	other, err := sshmachine.NewECDSAKeyPair(comment)
	if err != nil {
		return err
	}
	*private, *public = usual.Private.Reveal(), usual.AuthorizedKey
	*ecdsaPrivate, *ecdsaPublic = other.Private.Reveal(), other.AuthorizedKey
	s.run.Mask(usual.Private)
	s.run.Mask(other.Private)
	return nil
}
