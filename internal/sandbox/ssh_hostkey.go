package sandbox

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

const hostKeyFile = "/etc/ssh/ssh_host_ed25519_key"

// makeKey generates an ed25519 key pair and writes it to file and file.pub.
func makeKey(disk *memfs.FS, file, comment string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	line := bytes.TrimSuffix(ssh.MarshalAuthorizedKey(key), []byte("\n"))
	if comment != "" {
		line = append(append(line, ' '), comment...)
	}
	if err := disk.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	return disk.WriteFile(file+".pub", append(line, '\n'), 0o644)
}

// makeHostKey generates the host key unless it exists.
func (h *Host) makeHostKey() error {
	if _, err := h.FS().Stat(hostKeyFile); err == nil {
		return nil
	}
	return makeKey(h.FS(), hostKeyFile, "root@"+h.hostname())
}

// hostKey reads the SSH server's host key and, if it exists, its certificate.
func (h *Host) hostKey() ([]ssh.Signer, error) {
	data, err := h.FS().ReadFile(hostKeyFile)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	signers := []ssh.Signer{key}
	data, err = h.FS().ReadFile(hostKeyFile + "-cert.pub")
	if err != nil {
		return signers, nil //nolint:nilerr // most hosts have no certificate
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data) //nolint:dogsled // three results are for authorized_keys
	if err != nil {
		return nil, fmt.Errorf("host certificate: %w", err)
	}
	certificate, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("host certificate: unexpected key type %s", public.Type())
	}
	certified, err := ssh.NewCertSigner(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("host certificate: %w", err)
	}
	return append([]ssh.Signer{certified}, signers...), nil
}

// fingerprint returns the output of "ssh-keygen -l" for a public key.
func fingerprint(authorized []byte) (string, error) {
	key, comment, _, _, err := ssh.ParseAuthorizedKey(authorized)
	if err != nil {
		return "", err
	}
	if comment == "" {
		comment = "no comment"
	}
	return fmt.Sprintf("256 %s %s (ED25519)", ssh.FingerprintSHA256(key), comment), nil
}
