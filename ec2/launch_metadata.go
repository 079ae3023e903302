package ec2

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// Metadata is how the instance reaches its metadata service while it is baked.
// The zero value requires IMDSv2. The service cannot be off: cloud-init reads
// the host key and the client key from it.
type Metadata struct {
	// HopLimit is how many network hops an answer may take: two or more for
	// containers on the instance. Zero is what the AMI says, or one.
	HopLimit int32

	// Tags lets the instance read its tags there.
	Tags bool

	// IPv6 also serves it at its IPv6 address.
	IPv6 bool

	// AllowV1 also answers requests without a token, IMDSv1, for software that
	// knows no other; whatever can make the instance fetch a URL can then read
	// the credentials of its profile.
	AllowIMDSv1 bool
}

const mostHops = 64

func (b Builder) validateMetadata() []error {
	if hops := b.Metadata.HopLimit; hops < 0 || hops > mostHops {
		return []error{bake.Invalid("Builder.Metadata.HopLimit", "%d is not within 1 and %d", hops, mostHops)}
	}
	return nil
}

func (m Metadata) options() *ec2types.InstanceMetadataOptionsRequest {
	options := &ec2types.InstanceMetadataOptionsRequest{
		HttpEndpoint: ec2types.InstanceMetadataEndpointStateEnabled,
		HttpTokens:   ec2types.HttpTokensStateRequired,
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
