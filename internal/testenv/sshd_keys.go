package testenv

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

// writeKeys generates the keys missing from opts and writes all keys to Dir.
func (s *Server) writeKeys(t testing.TB, opts *SSHDOptions) {
	t.Helper()
	hostKey := opts.HostKeyPEM
	if hostKey == nil {
		hostKey = newKeyPEM(t)
	}
	s.HostKey = parseKey(t, hostKey).PublicKey()
	s.ClientKeyPEM = newKeyPEM(t)
	s.Signer = parseKey(t, s.ClientKeyPEM)
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

// newKeyPEM generates an ed25519 key.
func newKeyPEM(t testing.TB) []byte {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "bakestone test")
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return pem.EncodeToMemory(block)
}

func parseKey(t testing.TB, key []byte) ssh.Signer {
	t.Helper()
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return signer
}
