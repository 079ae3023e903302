package testenv

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"golang.org/x/crypto/ssh"
)

// writeKeys generates the keys missing from opts and writes all keys to Dir.
func (s *Server) writeKeys(t testing.TB, opts *SSHDOptions) {
	t.Helper()
	hostKey := opts.HostKeyPEM
	if hostKey == nil {
		hostKey = []byte(newKeyPair(t).Private.Reveal())
	}
	host, err := ssh.ParsePrivateKey(hostKey)
	if err != nil {
		t.Fatalf("testenv: parse host key: %v", err)
	}
	s.HostKey = host.PublicKey()
	client := newKeyPair(t)
	s.ClientKeyPEM, s.Signer = []byte(client.Private.Reveal()), client.Signer
	authorized := ssh.MarshalAuthorizedKey(s.Signer.PublicKey())
	for _, key := range opts.AuthorizedKeys {
		authorized = append(authorized, ssh.MarshalAuthorizedKey(key)...)
	}
	s.write(t, "host_key", hostKey)
	s.write(t, "client_key", s.ClientKeyPEM)
	s.write(t, "authorized_keys", authorized)
	// In a guest, sshd reads it as the login, which differs from the test's user.
	if err := os.Chmod(filepath.Join(s.Dir, "authorized_keys"), 0o644); err != nil {
		t.Fatalf("testenv: %v", err)
	}
}

// write writes a file in Dir.
func (s *Server) write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), content, 0o600); err != nil {
		t.Fatalf("testenv: %v", err)
	}
}

func newKeyPair(t testing.TB) *sshmachine.KeyPair {
	t.Helper()
	pair, err := sshmachine.NewKeyPair("bakestone test")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return pair
}
