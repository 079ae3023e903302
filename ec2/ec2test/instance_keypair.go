package ec2test

import (
	"cmp"
	"crypto/ed25519"
	"crypto/md5" //nolint:gosec // the fingerprint that EC2 shows of imported keys
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the fingerprint that EC2 shows of keys it made
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type keyPair struct {
	base

	name        string
	public      string // in the form of authorized_keys
	kind        string // rsa or ed25519
	fingerprint string
}

type keyPairXML struct {
	ID          string               `xml:"keyPairId"`
	Name        string               `xml:"keyName"`
	Fingerprint string               `xml:"keyFingerprint"`
	Tags        ec2query.Set[tagXML] `xml:"tagSet"`
}

func (c *call) keyPairXML(k *keyPair) keyPairXML {
	return keyPairXML{k.id, k.name, k.fingerprint, k.tags.set(c.now)}
}

type newKeyPairXML struct {
	keyPairXML
	Material string `xml:"keyMaterial"`
}

type keyPairInfoXML struct {
	keyPairXML
	Type    string `xml:"keyType"`
	Public  string `xml:"publicKey,omitempty"`
	Created string `xml:"createTime"`
}

func keyPairFilters() filters[*keyPair] {
	return filters[*keyPair]{
		"key-name":    func(_ *call, k *keyPair) []string { return one(k.name) },
		"key-pair-id": func(_ *call, k *keyPair) []string { return one(k.id) },
		"fingerprint": func(_ *call, k *keyPair) []string { return one(k.fingerprint) },
	}
}

func (c *call) keyByName(name string) (*keyPair, *ec2query.Error) {
	for k := range c.keyPairs.all() {
		if k.name == name && c.owns(&k.base) && c.isVisible(&k.base) {
			return k, nil
		}
	}
	return nil, keyPairKind().missing(name)
}

type describeKeyPairsInput struct {
	Filter           []filterParam
	KeyName          []string
	KeyPairID        []string `ec2:"KeyPairId"`
	IncludePublicKey bool
}

type describeKeyPairsOutput struct {
	Keys ec2query.Set[keyPairInfoXML] `xml:"keySet"`
}

func (c *call) describeKeyPairs(in *describeKeyPairsInput) (*describeKeyPairsOutput, *ec2query.Error) {
	ids := slices.Clone(in.KeyPairID)
	for _, name := range in.KeyName {
		k, err := c.keyByName(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, k.id)
	}
	items, _, err := find(c, &c.keyPairs, query[*keyPair]{kind: keyPairKind(), ids: ids, filters: in.Filter, known: c.server.known.keyPairs})
	return &describeKeyPairsOutput{ec2query.MapSet(items, func(k *keyPair) keyPairInfoXML {
		out := keyPairInfoXML{keyPairXML: c.keyPairXML(k), Type: k.kind, Created: ec2query.FormatTime(k.created)}
		if in.IncludePublicKey {
			out.Public = k.public
		}
		return out
	})}, err
}

type createKeyPairInput struct {
	KeyName          string `ec2:"KeyName,required"`
	KeyType          string `ec2:"KeyType,oneof=rsa|ed25519"`
	KeyFormat        string `ec2:"KeyFormat,oneof=pem"`
	TagSpecification []tagSpecification
}

func (c *call) newKeyPair(name string, specs []tagSpecification) (*keyPair, *ec2query.Error) {
	made, err := tagSpecs(specs, "key-pair")
	if err != nil {
		return nil, err
	}
	for k := range c.keyPairs.all() {
		if k.name == name && c.owns(&k.base) {
			return nil, ec2query.Errorf("InvalidKeyPair.Duplicate", "The keypair already exists")
		}
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	return &keyPair{base: c.newBase(keyPairKind(), made["key-pair"]), name: name}, nil
}

func (c *call) createKeyPair(in *createKeyPairInput) (*newKeyPairXML, *ec2query.Error) {
	k, err := c.newKeyPair(in.KeyName, in.TagSpecification)
	if err != nil {
		return nil, err
	}
	k.kind = cmp.Or(in.KeyType, "rsa")
	material, makeErr := k.generate()
	if makeErr != nil {
		return nil, ec2query.Internal(makeErr)
	}
	c.keyPairs.put(k)
	return &newKeyPairXML{c.keyPairXML(k), material}, nil
}

// generate creates the key and returns the private key in PEM form.
func (k *keyPair) generate() (string, error) {
	var public ssh.PublicKey
	var block *pem.Block
	if k.kind == "ed25519" {
		pub, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return "", err
		}
		if block, err = ssh.MarshalPrivateKey(private, ""); err != nil {
			return "", err
		}
		if public, err = ssh.NewPublicKey(pub); err != nil {
			return "", err
		}
		k.fingerprint = strings.TrimPrefix(ssh.FingerprintSHA256(public), "SHA256:") + "="
	} else {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", err
		}
		block = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
		if public, err = ssh.NewPublicKey(&private.PublicKey); err != nil {
			return "", err
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return "", err
		}
		sum := sha1.Sum(der) //nolint:gosec // see the import
		k.fingerprint = colons(sum[:])
	}
	k.public = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))) + " " + k.name
	return string(pem.EncodeToMemory(block)), nil
}

func colons(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

type importKeyPairInput struct {
	KeyName           string `ec2:"KeyName,required"`
	PublicKeyMaterial []byte `ec2:"PublicKeyMaterial,required"`
	TagSpecification  []tagSpecification
}

func (c *call) importKeyPair(in *importKeyPairInput) (*keyPairXML, *ec2query.Error) {
	public, _, _, _, parseErr := ssh.ParseAuthorizedKey(in.PublicKeyMaterial)
	if parseErr != nil {
		return nil, ec2query.Errorf("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
	}
	k, err := c.newKeyPair(in.KeyName, in.TagSpecification)
	if err != nil {
		return nil, err
	}
	switch public.Type() {
	case ssh.KeyAlgoRSA:
		k.kind = "rsa"
		sum := md5.Sum(public.Marshal()) //nolint:gosec // see the import
		k.fingerprint = colons(sum[:])
	case ssh.KeyAlgoED25519:
		k.kind = "ed25519"
		k.fingerprint = strings.TrimPrefix(ssh.FingerprintSHA256(public), "SHA256:") + "="
	default:
		return nil, ec2query.Errorf("InvalidKey.Format", "Key type %s is not supported", public.Type())
	}
	k.public = strings.TrimSpace(string(in.PublicKeyMaterial))
	c.keyPairs.put(k)
	out := c.keyPairXML(k)
	return &out, nil
}

type deleteKeyPairInput struct {
	KeyName   string
	KeyPairID string `ec2:"KeyPairId"`
}

type deleteKeyPairOutput struct {
	Return bool   `xml:"return"`
	ID     string `xml:"keyPairId,omitempty"`
}

// deleteKeyPair succeeds for a name that does not exist, as in EC2.
func (c *call) deleteKeyPair(in *deleteKeyPairInput) (*deleteKeyPairOutput, *ec2query.Error) {
	if in.KeyName == "" && in.KeyPairID == "" {
		return nil, ec2query.MissingParameter("KeyName")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &deleteKeyPairOutput{Return: true}
	for k := range c.keyPairs.all() {
		if c.owns(&k.base) && (k.name == in.KeyName || k.id == in.KeyPairID) {
			c.keyPairs.remove(k.id)
			out.ID = k.id
		}
	}
	if in.KeyPairID != "" && out.ID == "" {
		return nil, ec2query.Errorf("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", in.KeyPairID)
	}
	return out, nil
}
