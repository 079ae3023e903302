package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

// defaultKey encrypts what names no key: the account's choice, else the AWS
// managed key of EBS.
func (c *call) defaultKey() string {
	if ring := c.keyring(c.account); ring.defaultKey != "" {
		return ring.defaultKey
	}
	return c.managedKey(c.account)
}

// encryption is the ARN of the key that encrypts something new, and why the
// caller can not use it; no key is no encryption. Encryption by default covers
// what says nothing, and what says no. An empty name is the default key.
func (c *call) encryption(on bool, key string) (arn string, trouble keyStatus) {
	if !on && !c.keyring(c.account).byDefault {
		return "", keyUsable
	}
	return c.key(c.account, orText(key, c.defaultKey()))
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

// setDefaultKey makes a key the default; empty is AWS's. A key that can not be
// used shows when it is.
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
