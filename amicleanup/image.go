package amicleanup

import (
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// An Image is what EC2 says of one machine image. A zero time is one that EC2
// did not say or that cannot be read.
type Image struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Owner        string            `json:"owner"`
	OwnerAlias   string            `json:"owner_alias,omitempty"`
	State        string            `json:"state"` // EC2's word: "available", "disabled", …
	Architecture string            `json:"architecture,omitempty"`
	Created      time.Time         `json:"created,omitzero"`
	Deprecated   time.Time         `json:"deprecated,omitzero"`    // since when, or from when on
	LastLaunched time.Time         `json:"last_launched,omitzero"` // up to a day late; zero is unknown, not never
	Protection   string            `json:"protection,omitempty"`   // EC2's word; empty and "disabled" are none
	Public       bool              `json:"public,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Snapshots    []string          `json:"snapshots,omitempty"`
	GiB          int64             `json:"gib,omitempty"` // the volumes of Snapshots together: the most that they can hold

	// Bytes is what the blocks in Snapshots take together, as if no other
	// snapshot had any of them. Zero is not read: see ReadSizes.
	Bytes int64 `json:"bytes,omitempty"`

	// Source is the image that it was made or copied from, and SourceRegion
	// where that is. EC2 does not know them of a registered image.
	Source       string `json:"source,omitempty"`
	SourceRegion string `json:"source_region,omitempty"`

	// SourceInstance is the instance that it was captured from. A copy has
	// none: that tells a copy from a layer.
	SourceInstance string `json:"source_instance,omitempty"`

	// Shares says who else may launch it. Nil is not read: EC2 tells it for
	// one image at a time, and so it is read only where it decides.
	Shares *Shares `json:"shares,omitempty"`
}

// Shares are the launch permissions of an image. None at all is private.
type Shares struct {
	Public   bool     `json:"public,omitempty"`
	Accounts []string `json:"accounts,omitempty"` // ids
	ARNs     []string `json:"arns,omitempty"`     // organizations and organizational units
}

// Any reports whether anyone but the owner may launch it.
func (s *Shares) Any() bool { return s.Public || len(s.Accounts)+len(s.ARNs) > 0 }

const (
	available    = string(ec2types.ImageStateAvailable)
	disabled     = string(ec2types.ImageStateDisabled)
	deregistered = string(ec2types.ImageStateDeregistered)
)

// texts holds words that many images have once each.
type texts map[string]string

// mostTexts bounds the words that are held: some tags have another value on
// every image.
const mostTexts = 10_000

// as returns text, or the same text that was there before. Nil holds nothing.
func (t texts) as(text string) string {
	have, ok := t[text]
	if ok {
		return have
	}
	if t != nil && len(t) < mostTexts {
		t[text] = text
	}
	return text
}

// imageOf reads what EC2 answered.
func imageOf(from *ec2types.Image, same texts) Image {
	img := Image{
		ID:           aws.ToString(from.ImageId),
		Name:         aws.ToString(from.Name),
		Owner:        same.as(aws.ToString(from.OwnerId)),
		OwnerAlias:   same.as(aws.ToString(from.ImageOwnerAlias)),
		State:        same.as(string(from.State)),
		Architecture: same.as(string(from.Architecture)),
		Created:      timeOf(from.CreationDate),
		Deprecated:   timeOf(from.DeprecationTime),
		LastLaunched: timeOf(from.LastLaunchedTime),
		Protection:   same.as(aws.ToString(from.DeregistrationProtection)),
		Public:       aws.ToBool(from.Public),

		Source:         aws.ToString(from.SourceImageId),
		SourceRegion:   same.as(aws.ToString(from.SourceImageRegion)),
		SourceInstance: aws.ToString(from.SourceInstanceId),
	}
	for _, tag := range from.Tags {
		if img.Tags == nil {
			img.Tags = map[string]string{}
		}
		img.Tags[same.as(aws.ToString(tag.Key))] = same.as(aws.ToString(tag.Value))
	}
	for _, m := range from.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.Ebs.SnapshotId) != "" && !slices.Contains(img.Snapshots, *m.Ebs.SnapshotId) {
			img.Snapshots = append(img.Snapshots, *m.Ebs.SnapshotId)
			img.GiB += int64(aws.ToInt32(m.Ebs.VolumeSize))
		}
	}
	return img
}

func timeOf(text *string) time.Time {
	t, err := time.Parse(time.RFC3339, aws.ToString(text))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// protected reports whether EC2 refuses to deregister the image. Protection
// that was switched off may hold on for a day: "disabled after TIME".
func (img *Image) protected() bool {
	return img.Protection != "" && img.Protection != "disabled"
}

// settled reports whether the image is in a state that it does not leave by
// itself.
func (img *Image) settled() bool {
	switch ec2types.ImageState(img.State) {
	case ec2types.ImageStateAvailable, ec2types.ImageStateDisabled, ec2types.ImageStateFailed,
		ec2types.ImageStateError, ec2types.ImageStateInvalid:
		return true
	default:
		return false
	}
}

// Usable reports whether the image can be launched and was not left by a build
// that has not ended well.
func (img *Image) Usable() bool {
	_, is := unfinished(img.Tags)
	return img.State == available && !is
}

// isCopy reports whether CopyImage made the image. CreateImage leaves the
// instance as well.
func (img *Image) isCopy() bool {
	return img.Source != "" && img.SourceRegion != "" && img.SourceInstance == ""
}

// drift names what differs between the image as it was planned with and as it
// is now; empty is nothing.
func (img *Image) drift(now *Image) string {
	switch {
	case img.Name != now.Name || !img.Created.Equal(now.Created):
		return "it is another image now"
	case img.State != now.State:
		return "its state is " + now.State + " now"
	case now.protected():
		return "it is protected from deregistration now"
	case !maps.Equal(img.Tags, now.Tags):
		return "its tags have changed"
	case !slices.Equal(img.Snapshots, now.Snapshots):
		return "its snapshots have changed"
	case img.Public != now.Public:
		return "it was shared or unshared"
	case !img.Deprecated.Equal(now.Deprecated):
		return "its deprecation has changed"
	case !img.LastLaunched.Equal(now.LastLaunched):
		return "it was launched again"
	default:
		return ""
	}
}
