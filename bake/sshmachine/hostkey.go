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

// A HostKeyPolicy decides which host key is accepted as a server's. It is made by
// [FixedHostKey], [KnownHosts], [HostCA], [HostKeyFunc] or, in tests,
// [InsecureAnyHostKey].
type HostKeyPolicy interface {
	// valid returns an error if the policy cannot accept any key.
	valid() error

	// check returns nil if key is accepted for addr.
	check(addr string, remote net.Addr, key ssh.PublicKey) error

	// algorithms returns the host key algorithms to negotiate with the server at
	// addr, so that it presents a key the policy can check. Nil means any.
	algorithms(addr string) []string
}

// A HostKeyError reports that a server presented a host key the policy rejects:
// it is another server, or the connection is being intercepted. [Connect] returns
// it without retrying.
type HostKeyError struct {
	Addr        string // the server's "host:port"
	Fingerprint string // of the presented key, "SHA256:…"
	Err         error  // the reason
}

// Error names the server, the presented key and the reason.
func (e *HostKeyError) Error() string {
	return fmt.Sprintf("host key %s of %s rejected: %v", e.Fingerprint, e.Addr, e.Err)
}

// Unwrap returns Err.
func (e *HostKeyError) Unwrap() error { return e.Err }

// FixedHostKey accepts exactly the given keys.
func FixedHostKey(keys ...ssh.PublicKey) HostKeyPolicy { return fixedHostKey{keys} }

type fixedHostKey struct{ keys []ssh.PublicKey }

func (p fixedHostKey) valid() error {
	if len(p.keys) == 0 || slices.Contains(p.keys, nil) {
		return errors.New("FixedHostKey needs at least one key, none of them nil")
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

// signatureAlgorithms returns the signature algorithms of a key type.
func signatureAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// KnownHosts accepts the keys and authorities listed in the given files, which
// are in OpenSSH's known_hosts format. KnownHosts reads them
// immediately rather than at each login.
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
	lines    map[string][]string // by file
	err      error
}

func (p knownHosts) valid() error { return p.err }

func (p knownHosts) check(addr string, remote net.Addr, key ssh.PublicKey) error {
	err := p.callback(addr, remote, key)
	var unknown *knownhosts.KeyError
	if errors.As(err, &unknown) && len(unknown.Want) == 0 {
		return fmt.Errorf("host not listed: %w", err)
	}
	return err
}

// algorithms looks up a key that no host has: the error lists the known keys.
func (p knownHosts) algorithms(addr string) []string {
	unused, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil
	}
	var listed *knownhosts.KeyError
	if !errors.As(p.callback(addr, &net.TCPAddr{IP: net.IPv4zero}, unused), &listed) {
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

// HostCA accepts host certificates for the server's host name or address signed
// by one of the given certificate authorities.
func HostCA(keys ...ssh.PublicKey) HostKeyPolicy { return hostCA{keys} }

type hostCA struct{ keys []ssh.PublicKey }

func (p hostCA) valid() error {
	if len(p.keys) == 0 || slices.Contains(p.keys, nil) {
		return errors.New("HostCA needs at least one key, none of them nil")
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

// HostKeyFunc accepts the host keys for which f returns nil. addr is the server's
// "host:port".
func HostKeyFunc(f func(addr string, key ssh.PublicKey) error) HostKeyPolicy { return hostKeyFunc{f} }

type hostKeyFunc struct {
	f func(addr string, key ssh.PublicKey) error
}

func (p hostKeyFunc) valid() error {
	if p.f == nil {
		return errors.New("HostKeyFunc needs a func")
	}
	return nil
}

func (p hostKeyFunc) check(addr string, _ net.Addr, key ssh.PublicKey) error {
	return p.f(addr, key)
}

func (p hostKeyFunc) algorithms(string) []string { return nil }

// InsecureAnyHostKey accepts any host key, so anyone on the network path can read
// and modify the connection. Use it only in tests.
func InsecureAnyHostKey() HostKeyPolicy {
	return HostKeyFunc(func(string, ssh.PublicKey) error { return nil })
}
