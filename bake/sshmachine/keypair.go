package sshmachine

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
)

// A KeyPair is a key pair held only in memory, to log in with or to inject into a
// machine as its host key.
type KeyPair struct {
	// Private is the private key in OpenSSH's PEM format.
	Private bake.Secret

	// AuthorizedKey is the public key as a line for authorized_keys, including
	// the comment, without a newline.
	AuthorizedKey string

	// Signer signs with the private key.
	Signer ssh.Signer
}

// NewKeyPair generates an ed25519 key pair. The comment, which may be empty, becomes
// part of both keys.
func NewKeyPair(comment string) (*KeyPair, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key pair: %w", err)
	}
	return newKeyPair(private, comment)
}

// NewECDSAKeyPair generates an ECDSA key pair on the curve P-256, for servers that
// accept no ed25519, for example because FIPS mode is on. The comment is as in
// [NewKeyPair].
func NewECDSAKeyPair(comment string) (*KeyPair, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key pair: %w", err)
	}
	return newKeyPair(private, comment)
}

func newKeyPair(private crypto.Signer, comment string) (*KeyPair, error) {
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return nil, fmt.Errorf("generate key pair: %w", err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("generate key pair: %w", err)
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
