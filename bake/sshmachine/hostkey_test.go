package sshmachine_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

func TestHostKeyPolicies(t *testing.T) {
	ca, err := sshmachine.NewKeyPair("ca")
	must(t, err)
	h := newHost(t)
	// The server also has a key of a type that clients prefer, which no policy
	// below accepts.
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	unknown, err := ssh.NewSignerFromKey(private)
	must(t, err)
	certified, err := ssh.NewCertSigner(newCertificate(t, ca.Signer, h.key.Signer.PublicKey(), ssh.HostCert, "192.0.2.1"), h.key.Signer)
	must(t, err)
	h.config.AddHostKey(unknown)
	h.config.AddHostKey(certified)
	dir := t.TempDir()
	line := func(name, content string) string {
		file := filepath.Join(dir, name)
		must(t, os.WriteFile(file, []byte(content+"\n"), 0o600))
		return file
	}
	const addr = "192.0.2.1"
	hostKey := h.key.Signer.PublicKey()
	for name, test := range map[string]struct {
		policy sshmachine.HostKeyPolicy
		ok     bool
	}{
		"fixed":             {sshmachine.FixedHostKey(hostKey), true},
		"one of several":    {sshmachine.FixedHostKey(ca.Signer.PublicKey(), hostKey), true},
		"another":           {sshmachine.FixedHostKey(ca.Signer.PublicKey()), false},
		"known":             {sshmachine.KnownHosts(line("known", addr+" "+h.key.AuthorizedKey)), true},
		"known by another":  {sshmachine.KnownHosts(line("another", addr+" "+ca.AuthorizedKey)), false},
		"not known":         {sshmachine.KnownHosts(line("none", "example.org "+h.key.AuthorizedKey)), false},
		"known authority":   {sshmachine.KnownHosts(line("authority", "@cert-authority "+addr+" "+ca.AuthorizedKey)), true},
		"authority":         {sshmachine.HostCA(ca.Signer.PublicKey()), true},
		"another authority": {sshmachine.HostCA(hostKey), false},
		"func":              {sshmachine.HostKeyFunc(func(string, ssh.PublicKey) error { return nil }), true},
		"func that refuses": {sshmachine.HostKeyFunc(func(string, ssh.PublicKey) error { return errors.New("no") }), false},
		"insecure":          {sshmachine.InsecureAnyHostKey(), true},
	} {
		cfg := h.configFor(addr)
		cfg.HostKey, cfg.Dial = test.policy, h.dialAfter()
		m, err := sshmachine.Connect(t.Context(), cfg)
		var refused *sshmachine.HostKeyError
		if test.ok != (err == nil) || err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: Connect = %v, want success %v or a HostKeyError", name, err, test.ok)
		}
		if err == nil {
			must(t, m.Close())
		}
	}
	h.drop()
}
