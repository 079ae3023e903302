package ec2test

import (
	"fmt"
	"strings"
)

// keyring holds an account's KMS keys in a region. It is guarded by the region.
type keyring struct {
	keys       map[string]*kmsKey // by id and alias
	byDefault  bool               // encrypt new volumes by default
	defaultKey string             // ARN of the key for new volumes; empty means the AWS managed key
}

type kmsKey struct {
	arn      string
	disabled bool
	users    map[string]bool // other accounts that may use it
}

// AddKey creates a KMS key of Options.Account in a region, with an alias such
// as "alias/images", and returns its ARN. It returns "" if the region is not
// enabled.
//
// As in AWS, a key is checked only when it is used, after the call that names
// it has succeeded. If the key does not exist, belongs to another region, is
// disabled, or belongs to an account that has not shared it (see
// [Server.ShareKey]), then instances terminate at once, volumes disappear, and
// copies of snapshots and images fail. The same happens with resources
// encrypted with such a key. Creating a snapshot of a volume does not need its
// key.
func (s *Server) AddKey(region, alias string) (arn string) {
	return s.AddKeyFor(s.opts.Account, region, alias)
}

// AddKeyFor is like [Server.AddKey] for another account.
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

// ShareKey lets other accounts use a KMS key, as a statement in its key policy
// would. They refer to it by ARN. The AWS managed key "alias/aws/ebs" cannot be
// shared. ShareKey returns an error if no key has the ARN.
func (s *Server) ShareKey(arn string, accounts ...string) error {
	return s.changeKey(arn, func(_ *keyring, key *kmsKey) {
		for _, account := range accounts {
			setMember(&key.users, account, true)
		}
	})
}

// DisableKey disables a KMS key. It returns an error if no key has the ARN.
func (s *Server) DisableKey(arn string) error {
	return s.changeKey(arn, func(_ *keyring, key *kmsKey) { key.disabled = true })
}

// DeleteKey deletes a KMS key at once, without AWS's waiting period. Data
// encrypted with it becomes unreadable. It returns an error if no key has the
// ARN.
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
	return fmt.Errorf("KMS key %q not found", arn)
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

// managedKeyID is the id of the AWS managed key for EBS, here the same for all
// accounts.
const managedKeyID = "11111111-2222-3333-4444-555555555555"

func (r *region) managedKey(account string) string { return r.keyARN(account, managedKeyID) }

// A keyStatus tells whether a caller can use a key. If not, it is the code of
// the StateReason of an instance that needs the key.
type keyStatus string

const (
	keyUsable       keyStatus = ""
	keyInaccessible keyStatus = "Client.InternalError" // nonexistent, or the caller has no access
	keyDisabled     keyStatus = "Client.InvalidKMSKey.InvalidState"
)

// message returns the reason that a failed copy reports for an unusable key.
func (t keyStatus) message(arn string) string {
	if t == keyDisabled {
		return arn + " is disabled"
	}
	return "Given key ID is not accessible"
}

// key resolves the name by which an account refers to a key: an id, an alias,
// or an ARN of either. For a key that cannot be found it returns the name.
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

// statusOfKey reports whether the caller can use a key. No key is needed for
// "".
func (c *call) statusOfKey(key string) keyStatus {
	if key == "" {
		return keyUsable
	}
	_, trouble := c.key(c.account, key)
	return trouble
}
