package sshmachine

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A HostKey is a policy: which host key is accepted as the machine's. The
// funcs of this package make it.
type HostKeyPolicy interface {
	// valid reports a policy that can accept nothing.
	valid() error

	// check returns nil when key is the one of addr.
	check(addr string, remote net.Addr, key ssh.PublicKey) error

	// algorithms are the ones to ask of the server at addr, so that it shows a
	// key that can be checked. Nil is any.
	algorithms(addr string) []string
}

// A HostKeyError is a server that showed a host key which the policy refuses:
// it is not the machine, or somebody is in between. It is never tried again.
type HostKeyError struct {
	Addr        string // the server's address
	Fingerprint string // of the key it showed, "SHA256:…"
	Err         error  // why it was refused
}

// Error names the server, its key and the reason.
func (e *HostKeyError) Error() string {
	return fmt.Sprintf("host key %s of %s refused: %v", e.Fingerprint, e.Addr, e.Err)
}

// Unwrap is the reason.
func (e *HostKeyError) Unwrap() error { return e.Err }

// FixedKey accepts exactly the given keys.
func FixedHostKey(keys ...ssh.PublicKey) HostKeyPolicy { return fixedHostKey{keys} }

type fixedHostKey struct{ keys []ssh.PublicKey }

func (p fixedHostKey) valid() error {
	if len(p.keys) == 0 || slices.Contains(p.keys, nil) {
		return errors.New("FixedKey needs keys that are not nil")
	}
	return nil
}

func (p fixedHostKey) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	want := make([]string, 0, len(p.keys))
	for _, k := range p.keys {
		if string(k.Marshal()) == string(key.Marshal()) {
			return nil
		}
		want = append(want, ssh.FingerprintSHA256(k))
	}
	return fmt.Errorf("want %s", strings.Join(want, " or "))
}

func (p fixedHostKey) algorithms(string) []string {
	all := make([]string, 0, len(p.keys))
	for _, k := range p.keys {
		all = append(all, signatureAlgorithms(k.Type())...)
	}
	return all
}

// algorithmsOf is the signature algorithms of a key type.
func signatureAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// KnownHosts accepts what the given files in OpenSSH's known_hosts format say.
// They are read now.
func KnownHosts(files ...string) HostKeyPolicy {
	policy := knownHosts{lines: map[string][]string{}}
	policy.callback, policy.err = knownhosts.New(files...)
	for _, file := range files {
		content, err := os.ReadFile(file) //nolint:gosec // the caller names the file
		if err != nil {
			policy.err = errors.Join(policy.err, err)
		}
		policy.lines[file] = strings.Split(string(content), "\n")
	}
	return policy
}

type knownHosts struct {
	callback ssh.HostKeyCallback
	lines    map[string][]string // of each file
	err      error
}

func (p knownHosts) valid() error { return p.err }

func (p knownHosts) check(addr string, remote net.Addr, key ssh.PublicKey) error {
	err := p.callback(addr, remote, key)
	var unknown *knownhosts.KeyError
	if errors.As(err, &unknown) && len(unknown.Want) == 0 {
		return fmt.Errorf("the host is in none of the files: %w", err)
	}
	return err
}

// algorithms asks the files with a key that nobody has, and so learns the
// types of keys that they list.
func (p knownHosts) algorithms(addr string) []string {
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	var listed *knownhosts.KeyError
	if !errors.As(p.callback(addr, &net.TCPAddr{IP: net.IPv4zero}, nobody), &listed) {
		return nil
	}
	var all []string
	for _, known := range listed.Want {
		found := signatureAlgorithms(known.Key.Type())
		lines := p.lines[known.Filename]
		if known.Line >= 1 && known.Line <= len(lines) && strings.HasPrefix(strings.TrimSpace(lines[known.Line-1]), "@cert-authority") {
			found = certificateAlgorithms()
		}
		for _, algorithm := range found {
			if !slices.Contains(all, algorithm) {
				all = append(all, algorithm)
			}
		}
	}
	return all
}

// Authority accepts a host certificate that one of the given keys has signed
// for the machine's host name or address.
func HostCA(keys ...ssh.PublicKey) HostKeyPolicy { return hostCA{keys} }

type hostCA struct{ keys []ssh.PublicKey }

func (p hostCA) valid() error {
	if len(p.keys) == 0 || slices.Contains(p.keys, nil) {
		return errors.New("Authority needs keys that are not nil")
	}
	return nil
}

func (p hostCA) check(addr string, remote net.Addr, key ssh.PublicKey) error {
	checker := &ssh.CertChecker{
		IsHostAuthority: func(signer ssh.PublicKey, _ string) bool {
			return fixedHostKey(p).check("", nil, signer) == nil
		},
	}
	return checker.CheckHostKey(addr, remote, key)
}

func (p hostCA) algorithms(string) []string { return certificateAlgorithms() }

func certificateAlgorithms() []string {
	return []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
}

// CheckHostKey asks f about every host key: nil accepts it.
func HostKeyFunc(f func(addr string, key ssh.PublicKey) error) HostKeyPolicy { return hostKeyFunc{f} }

type hostKeyFunc struct {
	f func(addr string, key ssh.PublicKey) error
}

func (p hostKeyFunc) valid() error {
	if p.f == nil {
		return errors.New("CheckHostKey needs a func")
	}
	return nil
}

func (p hostKeyFunc) check(addr string, _ net.Addr, key ssh.PublicKey) error {
	return p.f(addr, key)
}

func (p hostKeyFunc) algorithms(string) []string { return nil }

// InsecureAnyHostKey accepts every server: whoever is between can read and
// change everything. It is for tests.
func InsecureAnyHostKey() HostKeyPolicy {
	return HostKeyFunc(func(string, ssh.PublicKey) error { return nil })
}
