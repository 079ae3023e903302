package ec2

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
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
	_ bake.Validator     = LaunchTemplate{}
	_ PolicyPublisher    = LaunchTemplate{}
	_ RegionalPublisher  = LaunchTemplate{}
	_ PreflightPublisher = LaunchTemplate{}
	_ PlannedPublisher   = LaunchTemplate{}

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

// Destinations returns the destinations in Regions, or with an ID only the first.
func (l LaunchTemplate) Destinations(all []Destination) ([]Destination, error) {
	if l.ID != "" {
		all = all[:min(1, len(all))]
	}
	return destinationsIn(l.Regions, all, "LaunchTemplate.Regions")
}

// PlannedCalls returns the API actions of Publish.
func (l LaunchTemplate) PlannedCalls() []string {
	calls := []string{"CreateLaunchTemplateVersion"}
	if l.MakeDefault {
		calls = append(calls, "ModifyLaunchTemplate")
	}
	return calls
}

// IAMPolicy returns what Preflight and Publish need.
func (l LaunchTemplate) IAMPolicy(regions ...string) *iampolicy.Document {
	resource := "launch-template/*"
	if l.ID != "" {
		resource = "launch-template/" + l.ID
	}
	g := grants{reading("DescribeLaunchTemplates")}
	for _, r := range regions {
		g = append(g, grant{"Publish", ec2Actions(l.PlannedCalls()...), arns("ec2", r, resource), nil})
	}
	return g.document()
}

// Preflight reports a template that does not exist.
func (l LaunchTemplate) Preflight(ctx context.Context, at Destination) error {
	r := at.Cloud.region(at.Region)
	in := &awsec2.DescribeLaunchTemplatesInput{}
	if l.ID != "" {
		in.LaunchTemplateIds = []string{l.ID} // for which there is no filter
	} else {
		in.Filters = []ec2types.Filter{filter("launch-template-name", l.Name)}
	}
	exists, err := r.lookups.answers.get(ctx, l.String(), func(ctx context.Context) (bool, error) {
		out, err := r.client.DescribeLaunchTemplates(ctx, in)
		if strings.HasPrefix(awsapi.Code(err), "InvalidLaunchTemplateId.") {
			return false, nil
		}
		return err == nil && len(out.LaunchTemplates) > 0, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", l, err)
	case exists:
		return nil
	case l.ID != "":
		return bake.Invalid("LaunchTemplate.ID", "there is no %s", l)
	}
	return bake.Invalid("LaunchTemplate.Name", "there is no %s", l)
}

// Publish adds the versions.
func (l LaunchTemplate) Publish(ctx context.Context, a bake.Artifact) error {
	ami, err := AMIOf(a)
	if err != nil {
		return err
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
	where := destinationName(place.Account, place.Region)
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
