package ec2

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// Metadata configures the instance metadata service during the bake. The zero value
// requires IMDSv2.
type Metadata struct {
	// HopLimit limits the network hops of a response. Containers on the instance
	// need two or more. Zero means the AMI's setting, or one.
	HopLimit int32

	// Tags makes the instance's tags available from the service. The keys of
	// Builder.Tags, RunTags and Image.Tags may then contain only ASCII letters,
	// digits and -_+=,.@: and must not be ".", ".." or "_index".
	Tags bool

	// IPv6 enables the service's IPv6 address.
	IPv6 bool

	// AllowIMDSv1 accepts requests without a token, for software that does not
	// support IMDSv2. Anyone who can make the instance fetch a URL can then read
	// the credentials of its profile.
	AllowIMDSv1 bool

	// Off disables the service, and with it user data and instance profiles. The
	// source AMI must know the login and the host key, so SSH.Auth and SSH.HostKey
	// are required. An abandoned instance does not shut itself down at its expiry,
	// which is among the user data.
	Off bool
}

const mostHops = 64

func (b Builder) validateMetadata() []error {
	var errs []error
	if hops := b.Metadata.HopLimit; hops < 0 || hops > mostHops {
		errs = append(errs, bake.Invalid("Builder.Metadata.HopLimit", "%d is not between 1 and %d", hops, mostHops))
	}
	if !b.Metadata.Off {
		return errs
	}
	invalid := func(format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.Metadata.Off", format, args...))
	}
	if len(b.SSH.Auth) == 0 || b.SSH.HostKey == nil {
		invalid("requires SSH.Auth and SSH.HostKey: the instance cannot read new keys from its user data")
	}
	for _, other := range []struct {
		field string
		set   bool
	}{
		{"UserData", len(b.UserData) > 0},
		{"InstanceProfile", b.InstanceProfile != ""},
		{"InstanceProfilePolicy", b.InstanceProfilePolicy != ""},
		{"SSH.KeyPair", b.SSH.KeyPair != ""},
		{"Metadata.HopLimit", b.Metadata.HopLimit != 0},
		{"Metadata.Tags", b.Metadata.Tags},
		{"Metadata.IPv6", b.Metadata.IPv6},
		{"Metadata.AllowIMDSv1", b.Metadata.AllowIMDSv1},
	} {
		if other.set {
			invalid("cannot be set together with %s, which needs the service", other.field)
		}
	}
	return errs
}

func (m Metadata) options() *ec2types.InstanceMetadataOptionsRequest {
	options := &ec2types.InstanceMetadataOptionsRequest{
		HttpEndpoint: ec2types.InstanceMetadataEndpointStateEnabled,
		HttpTokens:   ec2types.HttpTokensStateRequired,
	}
	if m.Off {
		options.HttpEndpoint = ec2types.InstanceMetadataEndpointStateDisabled
	}
	if m.AllowIMDSv1 {
		options.HttpTokens = ec2types.HttpTokensStateOptional
	}
	if m.HopLimit > 0 {
		options.HttpPutResponseHopLimit = aws.Int32(m.HopLimit)
	}
	if m.Tags {
		options.InstanceMetadataTags = ec2types.InstanceMetadataTagsStateEnabled
	}
	if m.IPv6 {
		options.HttpProtocolIpv6 = ec2types.InstanceMetadataProtocolStateEnabled
	}
	return options
}
