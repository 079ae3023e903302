package guest

import (
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// Keys are the keys created for one machine: the host keys that are injected and
// pinned, and the client keys that log in. They are useless without the machine.
// The caller's own keys are not among them.
//
// The ECDSA keys are for servers that accept no ed25519, for example because FIPS mode
// is on.
type Keys struct {
	HostPrivate        string `json:"host_private,omitempty"`
	HostPublic         string `json:"host_public,omitempty"` // or the keys read from a console
	HostECDSAPrivate   string `json:"host_ecdsa_private,omitempty"`
	HostECDSAPublic    string `json:"host_ecdsa_public,omitempty"`
	ClientPrivate      string `json:"client_private,omitempty"`
	ClientPublic       string `json:"client_public,omitempty"`
	ClientECDSAPrivate string `json:"client_ecdsa_private,omitempty"`
	ClientECDSAPublic  string `json:"client_ecdsa_public,omitempty"`
}

// HostKeys returns the public host keys, one per line.
func (k Keys) HostKeys() string { return strings.TrimSpace(k.HostPublic + "\n" + k.HostECDSAPublic) }

// ClientBlobs returns the client's public keys without types and comments, one per
// line.
func (k Keys) ClientBlobs() string {
	var all []string
	for _, line := range []string{k.ClientPublic, k.ClientECDSAPublic} {
		if line != "" {
			all = append(all, keyBlob(line))
		}
	}
	return strings.Join(all, "\n")
}

// Auth returns the ways to log in with the client keys.
func (k Keys) Auth() []sshmachine.Auth {
	var all []sshmachine.Auth
	for _, private := range []string{k.ClientPrivate, k.ClientECDSAPrivate} {
		if private != "" {
			all = append(all, sshmachine.PrivateKey([]byte(private), bake.Secret{}))
		}
	}
	return all
}

// Complete sets the login and the policy for host keys that config does not have.
func (k Keys) Complete(config *sshmachine.Config) error {
	if len(config.Auth) == 0 {
		config.Auth = k.Auth()
	}
	if config.HostKey == nil {
		known, err := ParseHostKeys(k.HostKeys())
		if err != nil {
			return err
		}
		config.HostKey = sshmachine.FixedHostKey(known...)
	}
	return nil
}

// AddHostKeys creates the host keys and masks their private halves in the output of run.
func (k *Keys) AddHostKeys(run *bake.Run) error {
	return newKeyPairs(run, "", &k.HostPrivate, &k.HostPublic, &k.HostECDSAPrivate, &k.HostECDSAPublic)
}

// AddClientKeys creates the client keys, named after the run, and masks their private
// halves in its output.
func (k *Keys) AddClientKeys(run *bake.Run) error {
	return newKeyPairs(run, "bakestone-"+run.ID, &k.ClientPrivate, &k.ClientPublic, &k.ClientECDSAPrivate, &k.ClientECDSAPublic)
}

// newKeyPairs creates a key pair of each kind.
func newKeyPairs(run *bake.Run, comment string, private, public, ecdsaPrivate, ecdsaPublic *string) error {
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
	run.Mask(usual.Private)
	run.Mask(other.Private)
	return nil
}

// ParseHostKeys parses public keys, one per line.
func ParseHostKeys(lines string) ([]ssh.PublicKey, error) {
	var keys []ssh.PublicKey
	for rest := []byte(lines); len(rest) > 0; {
		key, _, _, left, err := ssh.ParseAuthorizedKey(rest)
		if err != nil {
			return nil, err
		}
		keys, rest = append(keys, key), left
	}
	return keys, nil
}

// keyBlob returns the key in an authorized_keys line, without its type and comment.
func keyBlob(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return line
	}
	return fields[1]
}
