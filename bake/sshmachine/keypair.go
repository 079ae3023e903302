package sshmachine

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
)

// A KeyPair is an ed25519 key that exists only in memory: a client's key, or a
// host key to inject into a machine.
type KeyPair struct {
	// Private is the private half in OpenSSH's PEM.
	Private bake.Secret

	// AuthorizedKey is the public half as a line of authorized_keys, with the
	// comment and without a line break.
	AuthorizedKey string

	// Signer signs with the private half; its PublicKey is the public half.
	Signer ssh.Signer
}

// NewKeyPair makes a new key. The comment, which may be empty, is put in both
// halves.
func NewKeyPair(comment string) (*KeyPair, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("new key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, fmt.Errorf("new key: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("new key: %w", err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	if comment != "" {
		line += " " + comment
	}
	return &KeyPair{
		Private:       bake.NewSecret(string(pem.EncodeToMemory(block))),
		AuthorizedKey: line,
		Signer:        signer,
	}, nil
}
