package ec2

import (
	"context"
	"encoding/json"
	"fmt"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
)

// An AMI is what a Builder bakes.
type AMI struct {
	Region       string
	ImageID      string
	Name         string
	Architecture string
	Login        string   // who to log in as on its instances
	Snapshots    []string // its EBS snapshots
	Source       SourceImage
	Build        string // the build id

	cloud *Cloud
}

var _ bake.Artifact = (*AMI)(nil)

// Of returns the AMI of a result, nil when there is none or when it is another
// platform's artifact.
func Of(r *bake.Result) *AMI {
	ami, _ := r.Artifact.(*AMI)
	return ami
}

// ID is the AMI's id.
func (a *AMI) ID() string { return a.ImageID }

// IDs is the AMI's id by region.
func (a *AMI) IDs() map[string]string { return map[string]string{a.Region: a.ImageID} }

// String names the AMI and where it is.
func (a *AMI) String() string { return fmt.Sprintf("%s %q in %s", a.ImageID, a.Name, a.Region) }

// MarshalJSON is the fields in snake_case.
func (a *AMI) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID           string      `json:"id"`
		Region       string      `json:"region"`
		Name         string      `json:"name"`
		Architecture string      `json:"architecture"`
		Login        string      `json:"login"`
		Snapshots    []string    `json:"snapshots"`
		Source       SourceImage `json:"source,omitzero"`
		Build        string      `json:"build"`
	}{a.ImageID, a.Region, a.Name, a.Architecture, a.Login, a.Snapshots, a.Source, a.Build})
}

// Destroy deregisters the AMI and deletes its snapshots.
func (a *AMI) Destroy(ctx context.Context) error {
	return a.cloud.region(a.Region).removeImage(ctx, a.ImageID, a.Snapshots)
}

// Find returns the newest promoted AMI of img with the run's fingerprint that
// was made from the AMI that Source finds now.
func (b Builder) Find(ctx context.Context, img *bake.Image, run *bake.Run) (bake.Artifact, error) {
	r := b.Cloud.region(b.Region)
	filters := []ec2types.Filter{
		filter("tag:"+TagImage, img.Name),
		filter("tag:"+TagFingerprint, run.Fingerprint),
		filter("state", string(ec2types.ImageStateAvailable)),
	}
	if run.Source == nil && b.Source != nil { // that of Image.From is in the fingerprint
		source, err := b.Source.find(ctx, r)
		if err != nil {
			return nil, err
		}
		filters = append(filters, filter("tag:"+TagSource, aws.ToString(source.ImageId)))
	}
	images, err := r.describeImages(ctx, &awsec2.DescribeImagesInput{Owners: []string{Self}, Filters: filters})
	if err != nil {
		return nil, err
	}
	var good []ec2types.Image
	for _, i := range images {
		if (Newest{}).usable(i, r.clock.Now()) {
			good = append(good, i)
		}
	}
	if len(good) == 0 {
		return nil, bake.ErrNoArtifact
	}
	found := newest(good)
	tags := tagMap(found.Tags)
	return &AMI{
		Region: r.name, ImageID: aws.ToString(found.ImageId), Name: aws.ToString(found.Name),
		Architecture: string(found.Architecture), Login: tags[TagLogin], Snapshots: snapshotsOf(found),
		Source: SourceImage{ID: tags[TagSource]}, Build: tags[TagBuild], cloud: b.Cloud,
	}, nil
}
