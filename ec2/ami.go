package ec2

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
)

// An AMI is the artifact of a build.
type AMI struct {
	Region       string
	Account      string // if not the account of the Builder; only with Distribution.OnlyCopies
	ImageID      string
	Name         string
	Architecture string
	Login        string   // the user to log in as on its instances
	Snapshots    []string // the ids of its EBS snapshots
	Source       SourceImage
	Build        string    // the build id
	Copies       []AMICopy // in the order of Distribution.Copies

	cloud *Cloud
}

// An AMICopy is a copy of an AMI in another region or account.
type AMICopy struct {
	Region    string   `json:"region"`
	Account   string   `json:"account,omitempty"` // if not the account of the Builder
	ImageID   string   `json:"id"`
	Snapshots []string `json:"snapshots"`

	cloud *Cloud
}

var (
	_ bake.Artifact = (*AMI)(nil)
	_ amiArtifact   = (*AMI)(nil)
)

// An amiArtifact is an AMI or a struct that embeds one.
type amiArtifact interface {
	ami() *AMI
}

// AMIOf returns the AMI that an artifact is or wraps. It returns an error if a is
// nil or an artifact of another platform.
func AMIOf(a bake.Artifact) (*AMI, error) {
	with, ok := bake.As[amiArtifact](a)
	switch {
	case a == nil:
		return nil, errors.New("no artifact")
	case !ok:
		return nil, fmt.Errorf("%v is not an AMI of this package", a)
	}
	return with.ami(), nil
}

func (a *AMI) ami() *AMI { return a }

// Artifact returns the AMI with the copies that are complete; nil before the AMI
// exists.
func (s *session) Artifact() bake.Artifact {
	if s.Image.ID == "" {
		return nil
	}
	a := &AMI{
		Region: s.region.name, ImageID: s.Image.ID, Name: s.Image.Name, Snapshots: s.Image.Snapshots,
		Architecture: s.Source.Architecture, Login: s.Source.Login, Source: s.Source, Build: s.run.ID,
		cloud: s.builder.Cloud,
	}
	if s.Image.Replaces.Done || s.builder.ReplaceAMI && s.Image.Removed {
		a.Name = s.builder.AMIName
	}
	for i, p := range s.Copies {
		if p.Done && !p.Removed {
			c := s.copyAt(i)
			a.Copies = append(a.Copies, AMICopy{c.Region, p.Account, p.ID, p.Snapshots, s.builder.cloudOf(c)})
		}
	}
	if s.Image.Removed && len(a.Copies) > 0 {
		a.lead()
	}
	return a
}

// lead makes the first copy the AMI itself.
func (a *AMI) lead() {
	first := a.Copies[0]
	a.Region, a.Account, a.ImageID, a.Snapshots, a.cloud = first.Region, first.Account, first.ImageID, first.Snapshots, first.cloud
	a.Copies = a.Copies[1:]
}

// ID returns the AMI's id in Region.
func (a *AMI) ID() string { return a.ImageID }

// IDs returns the ids of the AMI and its copies by region: "eu-west-1". The keys of
// copies in other accounts have the account: "123456789012/eu-west-1".
func (a *AMI) IDs() map[string]string {
	ids := map[string]string{destinationName(a.Account, a.Region): a.ImageID}
	for _, c := range a.Copies {
		ids[destinationName(c.Account, c.Region)] = c.ImageID
	}
	return ids
}

// String returns the AMI's id and name and its regions.
func (a *AMI) String() string {
	places := make([]string, 0, 1+len(a.Copies))
	places = append(places, destinationName(a.Account, a.Region))
	for _, c := range a.Copies {
		places = append(places, destinationName(c.Account, c.Region))
	}
	return fmt.Sprintf("%s %q in %s", a.ImageID, a.Name, strings.Join(places, ", "))
}

// MarshalJSON encodes the fields with names in snake_case.
func (a *AMI) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID           string      `json:"id"`
		Region       string      `json:"region"`
		Account      string      `json:"account,omitempty"`
		Name         string      `json:"name"`
		Architecture string      `json:"architecture"`
		Login        string      `json:"login"`
		Snapshots    []string    `json:"snapshots"`
		Source       SourceImage `json:"source,omitzero"`
		Build        string      `json:"build"`
		Copies       []AMICopy   `json:"copies,omitempty"`
	}{a.ImageID, a.Region, a.Account, a.Name, a.Architecture, a.Login, a.Snapshots, a.Source, a.Build, a.Copies})
}

// Destroy deregisters the AMI and all its copies and deletes their snapshots. It
// lifts deregistration protection first; while a cooldown lasts, EC2 refuses. An
// error at one destination does not stop the others.
func (a *AMI) Destroy(ctx context.Context) error {
	err := a.cloud.region(a.Region).removeImage(ctx, a.ImageID, a.Snapshots)
	for _, c := range a.Copies {
		if copyErr := c.cloud.region(c.Region).removeImage(ctx, c.ImageID, c.Snapshots); copyErr != nil {
			err = errors.Join(err, &CopyError{Region: c.Region, Account: c.Account, Err: copyErr})
		}
	}
	return err
}

// Find returns the newest promoted AMI of img that has the run's fingerprint, was
// baked from the AMI that Source finds now, and exists at every destination.
func (b Builder) Find(ctx context.Context, img *bake.Image, run *bake.Run) (bake.Artifact, error) {
	b = b.of(img)
	copies := slices.Clone(b.Distribute.Copies)
	if !b.Distribute.OnlyCopies {
		copies = slices.Insert(copies, 0, Copy{Region: b.Cloud.region(b.Region).name})
	}
	a := &AMI{}
	var facts SourceImage
	filters := []ec2types.Filter{filter("tag:"+TagImage, img.Name), filter("tag:"+TagFingerprint, run.Fingerprint)}
	if d := b.disk(); d != nil && run.Source == nil {
		digest, err := b.diskDigest(ctx, img, run)
		if err != nil {
			return nil, err
		}
		filters = append(filters, filter("tag:"+TagSource, digest))
	} else if run.Source == nil && b.Source != nil { // the fingerprint covers Image.From
		source, err := b.Source.find(ctx, b.Cloud.region(b.Region))
		if err != nil {
			return nil, err
		}
		facts = sourceImage(source)
		facts.Region, facts.Login = b.Cloud.region(b.Region).name, cmp.Or(b.SSH.User, facts.Login)
		filters = append(filters, filter("tag:"+TagSource, facts.ID))
	}
	for _, wanted := range copies {
		cloud := b.cloudOf(wanted)
		found, err := cloud.region(wanted.Region).goodImage(ctx, filters...)
		if err != nil {
			return nil, err
		}
		c := AMICopy{Region: wanted.Region, ImageID: aws.ToString(found.ImageId), Snapshots: snapshotsOf(found), cloud: cloud}
		if cloud != b.Cloud {
			if c.Account, err = cloud.Account(ctx); err != nil {
				return nil, err
			}
		}
		a.Copies = append(a.Copies, c)
		tags := tagMap(found.Tags)
		a.Name, a.Architecture, a.Login = aws.ToString(found.Name), string(found.Architecture), tags[TagLogin]
		a.Source, a.Build = facts, tags[TagBuild]
		a.Source.ID = tags[TagSource]
		filters = []ec2types.Filter{filter("tag:"+TagBuild, a.Build)}
	}
	a.lead()
	return a, nil
}

// Inspect describes the newest promoted AMI of the image, in the region of the bake or
// of the first copy, and the source that Source finds now.
func (b Builder) Inspect(ctx context.Context, img *bake.Image, run *bake.Run) (*bake.Inspection, error) {
	b = b.of(img)
	at := Destination{b.place(), b.Cloud}
	if all := b.destinations(); len(all) > 0 {
		at = all[0]
	}
	found, err := at.Cloud.region(at.Region).goodImage(ctx, filter("tag:"+TagImage, img.Name))
	if err != nil {
		return nil, err
	}
	tags := tagMap(found.Tags)
	out := &bake.Inspection{
		Artifact: &AMI{
			Region: at.Region, ImageID: aws.ToString(found.ImageId), Name: aws.ToString(found.Name), Architecture: string(found.Architecture),
			Login: tags[TagLogin], Snapshots: snapshotsOf(found), Source: SourceImage{ID: tags[TagSource]}, Build: tags[TagBuild], cloud: at.Cloud,
		},
		Created: created(found), Fingerprint: tags[TagFingerprint], Source: tags[TagSource],
	}
	switch {
	case run.Source != nil:
		out.SourceNow = run.Source.ID()
	case b.Source != nil:
		source, err := b.Source.find(ctx, b.Cloud.region(b.Region))
		if err != nil {
			return nil, err
		}
		out.SourceNow = aws.ToString(source.ImageId)
	}
	return out, nil
}

// goodImage returns the account's newest promoted image that passes the filters, or
// bake.ErrNoArtifact.
func (r *region) goodImage(ctx context.Context, filters ...ec2types.Filter) (ec2types.Image, error) {
	images, err := r.describeImages(ctx, &awsec2.DescribeImagesInput{
		Owners: []string{Self}, Filters: append(filters, filter("state", string(ec2types.ImageStateAvailable))),
	})
	if err != nil {
		return ec2types.Image{}, err
	}
	var good []ec2types.Image
	for _, i := range images {
		if (Newest{}).usable(i, r.clock.Now()) {
			good = append(good, i)
		}
	}
	if len(good) == 0 {
		return ec2types.Image{}, bake.ErrNoArtifact
	}
	return newest(good), nil
}
