package sshmachine_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// dialAgent returns a dial func for an SSH agent that holds key.
func dialAgent(t *testing.T, key any) func(context.Context) (net.Conn, error) {
	t.Helper()
	ring := agent.NewKeyring()
	must(t, ring.Add(agent.AddedKey{PrivateKey: key}))
	return func(context.Context) (net.Conn, error) {
		a, b := newPipe()
		go func() { _ = agent.ServeAgent(ring, b) }()
		return a, nil
	}
}

// newCertificate returns a certificate for key, valid for an hour.
func newCertificate(t *testing.T, ca ssh.Signer, key ssh.PublicKey, kind uint32, principal string) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key: key, CertType: kind, ValidPrincipals: []string{principal},
		ValidAfter: uint64(time.Now().Add(-time.Hour).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()), //nolint:gosec // after 1970
	}
	must(t, cert.SignCert(rand.Reader, ca))
	return cert
}

// TestAuth logs in to a real sshd with each method it supports.
func TestAuth(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	must(t, err)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("open sesame"))
	must(t, err)
	encrypted := pem.EncodeToMemory(block)
	ca, err := sshmachine.NewKeyPair("ca")
	must(t, err)
	other, err := sshmachine.NewKeyPair("")
	must(t, err)
	caFile := filepath.Join(t.TempDir(), "ca.pub")
	must(t, os.WriteFile(caFile, []byte(ca.AuthorizedKey+"\n"), 0o600))
	server := testenv.SSHD(t, &testenv.SSHDOptions{
		AuthorizedKeys: []ssh.PublicKey{signer.PublicKey()}, Config: []string{"TrustedUserCAKeys " + caFile},
	})
	cert := newCertificate(t, ca.Signer, other.Signer.PublicKey(), ssh.UserCert, server.User)
	for name, auth := range map[string][]sshmachine.Auth{
		"key":           {sshmachine.PrivateKey(server.ClientKeyPEM, bake.Secret{})},
		"encrypted key": {sshmachine.PrivateKey(encrypted, bake.NewSecret("open sesame"))},
		"signer":        {sshmachine.Signer(signer)},
		"agent":         {sshmachine.Agent(dialAgent(t, private))},
		"certificate":   {sshmachine.Certificate(ssh.MarshalAuthorizedKey(cert), []byte(other.Private.Reveal()), bake.Secret{})},
		"the last of several": {
			sshmachine.AgentSocket("/does/not/exist"), sshmachine.Signer(other.Signer),
			sshmachine.Password(bake.NewSecret("wrong")), sshmachine.Signer(signer),
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := sshdConfig(server)
			cfg.Auth, cfg.AuthGrace = auth, -1
			must(t, connect(t, cfg).Run(t.Context(), bake.Sh("true")))
		})
	}
	for name, auth := range map[string]sshmachine.Auth{
		"wrong key": sshmachine.Signer(other.Signer), "no agent": sshmachine.AgentSocket("/does/not/exist"),
		"password": sshmachine.Password(bake.NewSecret("x")),
	} {
		cfg := sshdConfig(server)
		cfg.Auth, cfg.AuthGrace = []sshmachine.Auth{auth}, -1
		var refused *sshmachine.AuthError
		if _, err := sshmachine.Connect(t.Context(), cfg); !errors.As(err, &refused) || refused.User != server.User {
			t.Errorf("%s: Connect = %v, want an AuthError for %s", name, err, server.User)
		}
	}
}

// TestAuthPasswords logs in to an in-process server with passwords and answers.
func TestAuthPasswords(t *testing.T) {
	password := func(_ ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
		if string(given) != "right" {
			return nil, errors.New("wrong")
		}
		return &ssh.Permissions{}, nil
	}
	ask := func(questions ...string) func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		return func(_ ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := challenge("", "please", questions, make([]bool, len(questions)))
			if err != nil {
				return nil, err
			}
			for _, a := range answers {
				if a != "right" {
					return nil, errors.New("wrong")
				}
			}
			return &ssh.Permissions{}, nil
		}
	}
	answer := sshmachine.KeyboardInteractive(func(_ context.Context, instruction string, q []sshmachine.Question) ([]bake.Secret, error) {
		if instruction != "please" || len(q) != 2 || q[0].Text != "one?" || q[0].Echo {
			return nil, errors.New("unexpected question")
		}
		return []bake.Secret{bake.NewSecret("right"), bake.NewSecret("right")}, nil
	})
	right, wrong := sshmachine.Password(bake.NewSecret("right")), sshmachine.Password(bake.NewSecret("wrong"))
	for _, test := range []struct {
		name   string
		config ssh.ServerConfig
		auth   []sshmachine.Auth
		ok     bool
	}{
		{"password", ssh.ServerConfig{PasswordCallback: password}, []sshmachine.Auth{right}, true},
		{"second password", ssh.ServerConfig{PasswordCallback: password}, []sshmachine.Auth{wrong, right}, true},
		{"wrong password", ssh.ServerConfig{PasswordCallback: password}, []sshmachine.Auth{wrong}, false},
		{"password as an answer", ssh.ServerConfig{KeyboardInteractiveCallback: ask("Password: ")}, []sshmachine.Auth{right}, true},
		{"answers", ssh.ServerConfig{KeyboardInteractiveCallback: ask("one?", "two?")}, []sshmachine.Auth{answer}, true},
		{"two questions for a password", ssh.ServerConfig{KeyboardInteractiveCallback: ask("one?", "two?")}, []sshmachine.Auth{right}, false},
		{"unexpected question", ssh.ServerConfig{KeyboardInteractiveCallback: ask("what?", "two?")}, []sshmachine.Auth{answer}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			h.config = &test.config
			h.config.AddHostKey(h.key.Signer)
			cfg := h.configFor("192.0.2.1")
			cfg.Auth, cfg.Dial, cfg.AuthGrace = test.auth, h.dialAfter(), -1
			m, err := sshmachine.Connect(t.Context(), cfg)
			if ok := err == nil; ok != test.ok {
				t.Errorf("Connect = %v, want success %v", err, test.ok)
			}
			if err == nil {
				must(t, m.Close())
			}
			h.drop()
		})
	}
}
