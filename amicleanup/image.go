package amicleanup

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// An Image describes a machine image as EC2 does. A zero time is unknown.
type Image struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Owner        string            `json:"owner"`
	OwnerAlias   string            `json:"owner_alias,omitempty"`
	State        string            `json:"state"` // as EC2 names it: "available", "disabled", …
	Architecture string            `json:"architecture,omitempty"`
	Timestamp    time.Time         `json:"timestamp,omitzero"` // by Policy.Timestamp; zero if the image has none
	Version      string            `json:"version,omitempty"`  // by Policy.Version
	Created      time.Time         `json:"created,omitzero"`
	Deprecated   time.Time         `json:"deprecated,omitzero"`    // since when, or from when on
	LastLaunched time.Time         `json:"last_launched,omitzero"` // up to a day late; see LaunchedWithin
	Protection   string            `json:"protection,omitempty"`   // as EC2 names it; empty and "disabled" mean none
	Public       bool              `json:"public,omitempty"`
	Tags         map[string]string `json:"tags,omitempty"`
	Snapshots    []string          `json:"snapshots,omitempty"`
	GiB          int64             `json:"gib,omitempty"`    // total size of the volumes of Snapshots
	Locked       []string          `json:"locked,omitempty"` // locked snapshots, where a rule needs them

	// Bytes is the full size of the snapshots, as if they shared no blocks with
	// others. It is zero unless Cleaner.Details reads it.
	Bytes int64 `json:"bytes,omitempty"`

	// Source is the image that this one was made or copied from, in
	// SourceRegion. EC2 does not know them for a registered image.
	Source       string `json:"source,omitempty"`
	SourceRegion string `json:"source_region,omitempty"`

	// SourceInstance is the instance that the image was captured from. A copy
	// has none.
	SourceInstance string `json:"source_instance,omitempty"`

	// Shares are the launch permissions. They are nil unless they were read,
	// which happens only where they decide.
	Shares *Shares `json:"shares,omitempty"`
}

// Shares are the launch permissions of an image. The zero value is private.
type Shares struct {
	Public   bool     `json:"public,omitempty"`
	Accounts []string `json:"accounts,omitempty"` // ids
	ARNs     []string `json:"arns,omitempty"`     // organizations and organizational units
}

// Any reports whether others than the owner may launch the image.
func (s *Shares) Any() bool { return s.Public || len(s.Accounts)+len(s.ARNs) > 0 }

const (
	available    = string(ec2types.ImageStateAvailable)
	disabled     = string(ec2types.ImageStateDisabled)
	deregistered = string(ec2types.ImageStateDeregistered)
)

// interned holds strings that many images have, once each.
type interned map[string]string

// mostInterned limits the table: some tags differ on every image.
const mostInterned = 10_000

// of returns text as a string, sharing memory with an equal one that was passed
// before.
func (t interned) of(text []byte) string {
	have, ok := t[string(text)]
	if ok {
		return have
	}
	word := string(text)
	if len(t) < mostInterned {
		t[word] = word
	}
	return word
}

// imageOf converts the SDK's description of an image.
func imageOf(from *ec2types.Image) Image {
	img := Image{
		ID:           aws.ToString(from.ImageId),
		Name:         aws.ToString(from.Name),
		Owner:        aws.ToString(from.OwnerId),
		OwnerAlias:   aws.ToString(from.ImageOwnerAlias),
		State:        string(from.State),
		Architecture: string(from.Architecture),
		Created:      timeOf(aws.ToString(from.CreationDate)),
		Deprecated:   timeOf(aws.ToString(from.DeprecationTime)),
		LastLaunched: timeOf(aws.ToString(from.LastLaunchedTime)),
		Protection:   aws.ToString(from.DeregistrationProtection),
		Public:       aws.ToBool(from.Public),

		Source:         aws.ToString(from.SourceImageId),
		SourceRegion:   aws.ToString(from.SourceImageRegion),
		SourceInstance: aws.ToString(from.SourceInstanceId),
	}
	for _, tag := range from.Tags {
		img.addTag(aws.ToString(tag.Key), aws.ToString(tag.Value))
	}
	for _, m := range from.BlockDeviceMappings {
		if m.Ebs != nil {
			img.addSnapshot(aws.ToString(m.Ebs.SnapshotId), int64(aws.ToInt32(m.Ebs.VolumeSize)))
		}
	}
	return img
}

func (img *Image) addTag(key, value string) {
	if img.Tags == nil {
		img.Tags = map[string]string{}
	}
	img.Tags[key] = value
}

// addSnapshot adds a snapshot that is not empty, and the size of its volume.
func (img *Image) addSnapshot(id string, gib int64) {
	if id != "" && !slices.Contains(img.Snapshots, id) {
		img.Snapshots = append(img.Snapshots, id)
		img.GiB += gib
	}
}

func timeOf(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// protected reports whether EC2 refuses to deregister the image. Protection that
// was lifted may last for a cool-down: "disabled after TIME".
func (img *Image) protected() bool {
	return img.Protection != "" && img.Protection != "disabled"
}

// coolingDown reports whether protection was lifted and lasts for its cool-down.
func (img *Image) coolingDown() bool { return strings.HasPrefix(img.Protection, "disabled after") }

// settled reports whether the image is in a final state.
func (img *Image) settled() bool {
	switch ec2types.ImageState(img.State) {
	case ec2types.ImageStateAvailable, ec2types.ImageStateDisabled, ec2types.ImageStateFailed,
		ec2types.ImageStateError, ec2types.ImageStateInvalid:
		return true
	default:
		return false
	}
}

// Usable reports whether the image can be launched and no build left it
// unfinished.
func (img *Image) Usable() bool {
	_, is := unfinished(img.Tags)
	return img.State == available && !is
}

// isCopy reports whether CopyImage made the image. For CreateImage, EC2 also
// knows the instance.
func (img *Image) isCopy() bool {
	return img.Source != "" && img.SourceRegion != "" && img.SourceInstance == ""
}

// drift describes how the image differs from now, or returns "".
func (img *Image) drift(now *Image) string {
	switch {
	case img.Name != now.Name || !img.Created.Equal(now.Created):
		return "it is a different image now"
	case img.State != now.State:
		return "its state is " + now.State + " now"
	case img.protected() != now.protected():
		return "its deregistration protection has changed"
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
