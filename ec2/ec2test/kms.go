package ec2test

import (
	"fmt"
	"strings"
)

// keyring is the KMS keys of an account in a region. It is guarded by the
// region.
type keyring struct {
	keys      map[string]*kmsKey // by ARN, id and alias
	byDefault bool               // new volumes are encrypted
	standard  string             // ARN of the key they use; empty is AWS's
}

type kmsKey struct {
	arn      string
	disabled bool
}

// AddKey makes a KMS key of Options.Account in a region, under an alias such
// as "alias/images", and returns its ARN. Launches that name an unknown or
// disabled key fail as in AWS: the instance is made, and ends at once; and so do
// copies of images, which then fail.
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
	key := &kmsKey{arn: "arn:aws:kms:" + region + ":" + account + ":key/" + id}
	ring := r.keyring(account)
	ring.keys[id], ring.keys[key.arn], ring.keys[alias] = key, key, key
	return key.arn
}

// DisableKey disables a KMS key that AddKey made, by its ARN.
func (s *Server) DisableKey(arn string) error {
	for _, r := range s.existing() {
		r.mu.Lock()
		for _, ring := range r.keyrings {
			if key := ring.keys[arn]; key != nil {
				key.disabled = true
				r.mu.Unlock()
				return nil
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

// defaultKey encrypts what names no key: the account's choice, else the AWS
// managed key of EBS.
func (c *call) defaultKey() string {
	if ring := c.keyring(c.account); ring.standard != "" {
		return ring.standard
	}
	return c.managedKey()
}

func (c *call) managedKey() string {
	return "arn:aws:kms:" + c.name + ":" + c.account + ":key/11111111-2222-3333-4444-555555555555"
}

// launchKey is the ARN of a key that a launch names, and why the instance
// cannot start with it: a code of a state reason, or empty.
func (c *call) launchKey(name string) (arn, trouble string) {
	if name == c.managedKey() || name == "alias/aws/ebs" || strings.HasSuffix(name, ":alias/aws/ebs") {
		return c.managedKey(), ""
	}
	_, alias, isAlias := strings.Cut(name, ":alias/")
	if isAlias {
		name = "alias/" + alias
	}
	key := c.keyring(c.account).keys[name]
	switch {
	case key == nil:
		return name, "Client.InternalError"
	case key.disabled:
		return key.arn, "Client.InvalidKMSKey.InvalidState"
	}
	return key.arn, ""
}

type encryptionOutput struct {
	ByDefault bool `xml:"ebsEncryptionByDefault"`
}

type noInput struct{}

func (c *call) getEncryption(*noInput) (*encryptionOutput, *apiError) {
	return &encryptionOutput{c.keyring(c.account).byDefault}, nil
}

func (c *call) enableEncryption(*noInput) (*encryptionOutput, *apiError) {
	return c.setEncryption(true)
}

func (c *call) disableEncryption(*noInput) (*encryptionOutput, *apiError) {
	return c.setEncryption(false)
}

func (c *call) setEncryption(on bool) (*encryptionOutput, *apiError) {
	if err := c.commit(); err != nil {
		return nil, err
	}
	c.keyring(c.account).byDefault = on
	return &encryptionOutput{on}, nil
}

type defaultKeyInput struct {
	KmsKeyID string `ec2:"KmsKeyId,required"`
}

type defaultKeyOutput struct {
	Key string `xml:"kmsKeyId"`
}

func (c *call) getDefaultKey(*noInput) (*defaultKeyOutput, *apiError) {
	return &defaultKeyOutput{c.defaultKey()}, nil
}

func (c *call) modifyDefaultKey(in *defaultKeyInput) (*defaultKeyOutput, *apiError) {
	arn, trouble := c.launchKey(in.KmsKeyID)
	if trouble != "" {
		return nil, invalidValue("KmsKeyId", in.KmsKeyID, "The key does not exist, or is not enabled.")
	}
	if err := c.commit(); err != nil {
		return nil, err
	}
	c.keyring(c.account).standard = arn
	return &defaultKeyOutput{arn}, nil
}
