package ec2test

import (
	"cmp"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// defaultKey returns the ARN of the key used where none is named: the account's
// choice, or the AWS managed key.
func (c *call) defaultKey() string {
	if ring := c.keyring(c.account); ring.defaultKey != "" {
		return ring.defaultKey
	}
	return c.managedKey(c.account)
}

// encryption returns the ARN of the key that encrypts a new resource, or "" if
// it is not encrypted, and reports whether the caller can use the key.
// Encryption by default overrides on. An empty key means the default one.
func (c *call) encryption(on bool, key string) (arn string, trouble keyStatus) {
	if !on && !c.keyring(c.account).byDefault {
		return "", keyUsable
	}
	return c.key(c.account, cmp.Or(key, c.defaultKey()))
}

type encryptionOutput struct {
	ByDefault bool `xml:"ebsEncryptionByDefault"`
}

type noInput struct{}

func (c *call) getEncryption(*noInput) (*encryptionOutput, *ec2query.Error) {
	return &encryptionOutput{c.keyring(c.account).byDefault}, nil
}

func (c *call) enableEncryption(*noInput) (*encryptionOutput, *ec2query.Error) {
	return c.setEncryption(true)
}

func (c *call) disableEncryption(*noInput) (*encryptionOutput, *ec2query.Error) {
	return c.setEncryption(false)
}

func (c *call) setEncryption(on bool) (*encryptionOutput, *ec2query.Error) {
	if err := c.checkDryRun(); err != nil {
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

func (c *call) getDefaultKey(*noInput) (*defaultKeyOutput, *ec2query.Error) {
	return &defaultKeyOutput{c.defaultKey()}, nil
}

func (c *call) modifyDefaultKey(in *defaultKeyInput) (*defaultKeyOutput, *ec2query.Error) {
	return c.setDefaultKey(in.KmsKeyID)
}

func (c *call) resetDefaultKey(*noInput) (*defaultKeyOutput, *ec2query.Error) {
	return c.setDefaultKey("")
}

// setDefaultKey sets the default key. Empty means the AWS managed key. As in
// AWS an unusable key is noticed only when it is used.
func (c *call) setDefaultKey(name string) (*defaultKeyOutput, *ec2query.Error) {
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	ring := c.keyring(c.account)
	ring.defaultKey = ""
	if name != "" {
		ring.defaultKey, _ = c.key(c.account, name)
	}
	return &defaultKeyOutput{c.defaultKey()}, nil
}
