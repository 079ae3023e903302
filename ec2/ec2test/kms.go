package ec2test

import (
	"fmt"
	"strings"
)

// keyring is the KMS keys of an account in a region. It is guarded by the
// region.
type keyring struct {
	keys       map[string]*kmsKey // by id and alias
	byDefault  bool               // new volumes are encrypted
	defaultKey string             // ARN of the key they use; empty is AWS's
}

type kmsKey struct {
	arn      string
	disabled bool
	users    map[string]bool // other accounts that may use it
}

// AddKey makes a KMS key of Options.Account in a region, under an alias such
// as "alias/images", and returns its ARN.
//
// As in AWS a key is looked at only when it is used, after the call that names
// it has succeeded. With a key that does not exist, is of another region, is
// disabled, or is of an account that does not share it (ShareKey), instances
// end at once, volumes disappear, snapshots are copied to an "error" and images
// to "failed"; and so it is with what is encrypted with such a key, unless the
// caller no longer needs it: a snapshot of a volume is taken without its key.
func (s *Server) AddKey(region, alias string) (arn string) {
	return s.AddKeyFor(s.opts.Account, region, alias)
}

// AddKeyFor is AddKey for another account.
func (s *Server) AddKeyFor(account, region, alias string) (arn string) {
	r := s.region(region)
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	hex := newID("", s.nextSeq()) + "000000000000000"
	id := fmt.Sprintf("%s-%s-%s-%s-%s", hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:32])
	key := &kmsKey{arn: r.keyARN(account, id)}
	ring := r.keyring(account)
	ring.keys[id], ring.keys[alias] = key, key
	return key.arn
}

// ShareKey lets other accounts use a KMS key that AddKey made, by its ARN, as a
// statement of its policy does. They name it by an ARN. The key that AWS makes
// for EBS in every account, "alias/aws/ebs", cannot be shared.
func (s *Server) ShareKey(arn string, accounts ...string) error {
	return s.changeKey(arn, func(_ *keyring, key *kmsKey) {
		for _, account := range accounts {
			setMember(&key.users, account, true)
		}
	})
}

// DisableKey disables a KMS key that AddKey made, by its ARN.
func (s *Server) DisableKey(arn string) error {
	return s.changeKey(arn, func(_ *keyring, key *kmsKey) { key.disabled = true })
}

// DeleteKey deletes a KMS key that AddKey made, by its ARN, without the days
// that AWS waits. What is encrypted with it cannot be read any more.
func (s *Server) DeleteKey(arn string) error {
	return s.changeKey(arn, func(ring *keyring, key *kmsKey) {
		for name, other := range ring.keys {
			if other == key {
				delete(ring.keys, name)
			}
		}
	})
}

func (s *Server) changeKey(arn string, f func(*keyring, *kmsKey)) error {
	for _, r := range s.existing() {
		r.mu.Lock()
		for _, ring := range r.keyrings {
			for _, key := range ring.keys {
				if key.arn == arn {
					f(ring, key)
					r.mu.Unlock()
					return nil
				}
			}
		}
		r.mu.Unlock()
	}
	return fmt.Errorf("no key has the ARN %q", arn)
}

func (r *region) keyring(account string) *keyring {
	if r.keyrings == nil {
		r.keyrings = make(map[string]*keyring)
	}
	if r.keyrings[account] == nil {
		r.keyrings[account] = &keyring{keys: make(map[string]*kmsKey)}
	}
	return r.keyrings[account]
}

func (r *region) keyARN(account, id string) string {
	return "arn:aws:kms:" + r.name + ":" + account + ":key/" + id
}

// managedKeyID is the id of the key that AWS makes for EBS, which here is the
// same for all accounts.
const managedKeyID = "11111111-2222-3333-4444-555555555555"

func (r *region) managedKey(account string) string { return r.keyARN(account, managedKeyID) }

// A keyTrouble is why a caller can not use a key: the code that an instance
// gives as the reason for not starting.
type keyStatus string

const (
	keyUsable       keyStatus = ""
	keyInaccessible keyStatus = "Client.InternalError" // there is none, or it is not the caller's to use
	keyDisabled     keyStatus = "Client.InvalidKMSKey.InvalidState"
)

// message is what a copy says of a key that it can not use.
func (t keyStatus) message(arn string) string {
	if t == keyDisabled {
		return arn + " is disabled"
	}
	return "Given key ID is not accessible"
}

// key is the ARN of the key that an account calls by this name: an id, an
// alias, or an ARN of either. When the account can not use it, trouble says
// why, and the ARN is the name.
func (r *region) key(account, name string) (arn string, trouble keyStatus) {
	owner, id := account, name
	if parts := strings.SplitN(name, ":", 6); len(parts) == 6 {
		if parts[2] != "kms" || parts[3] != r.name {
			return name, keyInaccessible
		}
		owner, id = parts[4], parts[5]
	}
	id = strings.TrimPrefix(id, "key/")
	if id == managedKeyID || id == "alias/aws/ebs" {
		if owner != account {
			return name, keyInaccessible
		}
		return r.managedKey(account), keyUsable
	}
	var key *kmsKey
	if ring := r.keyrings[owner]; ring != nil {
		key = ring.keys[id]
	}
	switch {
	case key == nil || owner != account && !key.users[account]:
		return name, keyInaccessible
	case key.disabled:
		return key.arn, keyDisabled
	}
	return key.arn, keyUsable
}

// trouble is why the caller can not use the key that something is encrypted
// with; an empty key is no encryption.
func (c *call) statusOfKey(key string) keyStatus {
	if key == "" {
		return keyUsable
	}
	_, trouble := c.key(c.account, key)
	return trouble
}
