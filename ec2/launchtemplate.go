package ec2

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A LaunchTemplate is a bake.Publisher that adds a version with the AMI to a
// launch template that exists, in every region and account where the AMI is. All
// else in the new version is as in the one that it is made from.
type LaunchTemplate struct {
	// Name is the template's, the same in all regions. ID, in place of it, is
	// one template in the region of the AMI itself.
	Name string
	ID   string

	// SourceVersion is what to take the other settings from: a number,
	// "$Latest" or "$Default". Empty is "$Default".
	SourceVersion string

	// Description is the version's. Empty is the name of the AMI.
	Description string

	// MakeDefault makes the new version the default one.
	MakeDefault bool

	// Regions narrows where. Empty is every place of the AMI.
	Regions []string
}

var (
	_ bake.Publisher = LaunchTemplate{}
	_ bake.Validator = LaunchTemplate{}

	templateName    = regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`)
	templateVersion = regexp.MustCompile(`^(|\$Latest|\$Default|[1-9][0-9]*)$`)
)

// String names the template.
func (l LaunchTemplate) String() string { return "launch template " + l.Name + l.ID }

// Validate reports names and versions that EC2 does not take.
func (l LaunchTemplate) Validate() error {
	const longest = 255
	var errs []error
	switch {
	case (l.Name == "") == (l.ID == ""):
		errs = append(errs, bake.Invalid("LaunchTemplate.Name", "exactly one of Name and ID must be set"))
	case l.Name != "" && !templateName.MatchString(l.Name):
		errs = append(errs, bake.Invalid("LaunchTemplate.Name", "%q: EC2 takes 3 to 128 letters, digits and ().-/_", l.Name))
	case l.ID != "" && len(l.Regions) > 0:
		errs = append(errs, bake.Invalid("LaunchTemplate.Regions", "cannot be set together with ID, which is of one region"))
	}
	if !templateVersion.MatchString(l.SourceVersion) {
		errs = append(errs, bake.Invalid("LaunchTemplate.SourceVersion", "%q is no number, $Latest or $Default", l.SourceVersion))
	}
	if len(l.Description) > longest {
		errs = append(errs, bake.Invalid("LaunchTemplate.Description", "has %d bytes, of %d at most", len(l.Description), longest))
	}
	return errors.Join(errs...)
}

// Publish adds the versions.
func (l LaunchTemplate) Publish(ctx context.Context, a bake.Artifact) error {
	ami, ok := a.(*AMI)
	if !ok {
		return notAMI(a)
	}
	if l.ID != "" {
		home := *ami
		home.Copies = nil
		ami = &home
	}
	return ami.publish(l.Regions, func(place AMICopy) error { return l.add(ctx, ami, place) })
}

func (l LaunchTemplate) add(ctx context.Context, ami *AMI, place AMICopy) error {
	source, description := l.SourceVersion, l.Description
	if source == "" {
		source = "$Default"
	}
	if description == "" {
		description = ami.Name
	}
	r := place.cloud.region(place.Region)
	in := &awsec2.CreateLaunchTemplateVersionInput{
		ClientToken:        aws.String(token(ami.Build, place.ImageID, l.Name+l.ID, source, description)),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(place.ImageID)},
		SourceVersion:      aws.String(source),
		VersionDescription: aws.String(description),
	}
	if l.ID != "" {
		in.LaunchTemplateId = aws.String(l.ID)
	} else {
		in.LaunchTemplateName = aws.String(l.Name)
	}
	out, err := r.client.CreateLaunchTemplateVersion(ctx, in)
	if err != nil {
		return err
	}
	version := strconv.FormatInt(aws.ToInt64(out.LaunchTemplateVersion.VersionNumber), 10)
	where := placeName(place.Account, place.Region)
	say(ctx, "%s in %s has version %s with %s", l, where, version, place.ImageID)
	if !l.MakeDefault {
		return nil
	}
	_, err = r.client.ModifyLaunchTemplate(ctx, &awsec2.ModifyLaunchTemplateInput{
		LaunchTemplateId: in.LaunchTemplateId, LaunchTemplateName: in.LaunchTemplateName, DefaultVersion: aws.String(version),
	})
	if err != nil {
		return fmt.Errorf("make version %s of %s the default: %w", version, l, err)
	}
	say(ctx, "version %s of %s in %s is the default now", version, l, where)
	return nil
}
