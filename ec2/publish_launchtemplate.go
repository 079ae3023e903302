package ec2

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A LaunchTemplate is a [bake.Publisher] that adds a version with the AMI to an
// existing launch template, in every region and account that has the AMI. The other
// settings of the new version are copied from an existing one.
type LaunchTemplate struct {
	// Name is the template's name, the same in all regions. ID is the id of a
	// template in the region of the AMI itself. Exactly one of them must be set.
	Name string
	ID   string

	// SourceVersion is the version to copy the other settings from: a number,
	// "$Latest" or "$Default". Empty means "$Default".
	SourceVersion string

	// Description is the version's description. Empty means the AMI's name.
	Description string

	// MakeDefault makes the new version the default version.
	MakeDefault bool

	// Regions restricts the regions. Empty means all.
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

// String returns "launch template " and the name or id.
func (l LaunchTemplate) String() string { return "launch template " + l.Name + l.ID }

// Validate reports names and versions that EC2 does not accept.
func (l LaunchTemplate) Validate() error {
	const longest = 255
	var errs []error
	switch {
	case (l.Name == "") == (l.ID == ""):
		errs = append(errs, bake.Invalid("LaunchTemplate.Name", "exactly one of Name and ID must be set"))
	case l.Name != "" && !templateName.MatchString(l.Name):
		errs = append(errs, bake.Invalid("LaunchTemplate.Name", "invalid name %q: EC2 accepts 3 to 128 letters, digits and ().-/_", l.Name))
	case l.ID != "" && len(l.Regions) > 0:
		errs = append(errs, bake.Invalid("LaunchTemplate.Regions", "cannot be set together with ID"))
	}
	if !templateVersion.MatchString(l.SourceVersion) {
		errs = append(errs, bake.Invalid("LaunchTemplate.SourceVersion", "invalid version %q: want a number, $Latest or $Default", l.SourceVersion))
	}
	if n := utf8.RuneCountInString(l.Description); n > longest {
		errs = append(errs, bake.Invalid("LaunchTemplate.Description", "is %d characters, want at most %d", n, longest))
	}
	return errors.Join(append(errs, checkRedacted("LaunchTemplate", l))...)
}

// Destinations returns the destinations in Regions, or with an ID only the first.
func (l LaunchTemplate) Destinations(all []Destination) ([]Destination, error) {
	if l.ID != "" {
		all = all[:min(1, len(all))]
	}
	return destinationsIn(l.Regions, all, "LaunchTemplate.Regions")
}

// PlannedCalls returns the API actions that Publish calls.
func (l LaunchTemplate) PlannedCalls() []string {
	calls := []string{"CreateLaunchTemplateVersion"}
	if l.MakeDefault {
		calls = append(calls, "ModifyLaunchTemplate")
	}
	return calls
}

// IAMPolicy returns the permissions that Preflight and Publish need.
func (l LaunchTemplate) IAMPolicy(regions ...string) *iampolicy.Document {
	resource := "launch-template/*"
	if l.ID != "" {
		resource = "launch-template/" + l.ID
	}
	g := append(make(grants, 0, 1+len(regions)), reading("DescribeLaunchTemplates"))
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
		in.LaunchTemplateIds = []string{l.ID} // there is no filter for it
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
		return bake.Invalid("LaunchTemplate.ID", "%s not found", l)
	}
	return bake.Invalid("LaunchTemplate.Name", "%s not found", l)
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
	if err := checkVersion(in, out.LaunchTemplateVersion); err != nil {
		return fmt.Errorf("%s: %w", l, err)
	}
	version := strconv.FormatInt(aws.ToInt64(out.LaunchTemplateVersion.VersionNumber), 10)
	where := destinationName(place.Account, place.Region)
	say(ctx, "added version %[3]s with %[4]s to %[1]s in %[2]s", l, where, version, place.ImageID)
	if !l.MakeDefault {
		return nil
	}
	_, err = r.client.ModifyLaunchTemplate(ctx, &awsec2.ModifyLaunchTemplateInput{
		LaunchTemplateId: in.LaunchTemplateId, LaunchTemplateName: in.LaunchTemplateName, DefaultVersion: aws.String(version),
	})
	if err != nil {
		return fmt.Errorf("make version %s of %s the default: %w", version, l, err)
	}
	say(ctx, "made version %s of %s in %s the default", version, l, where)
	return nil
}

// checkVersion reports a response that is not about the version that in requested. An
// endpoint may leave out the version's settings.
func checkVersion(in *awsec2.CreateLaunchTemplateVersionInput, v *ec2types.LaunchTemplateVersion) error {
	id, name, image := aws.ToString(v.LaunchTemplateId), aws.ToString(v.LaunchTemplateName), ""
	if v.LaunchTemplateData != nil {
		image = aws.ToString(v.LaunchTemplateData.ImageId)
	}
	switch wanted := aws.ToString(in.LaunchTemplateData.ImageId); {
	case in.LaunchTemplateId != nil && id != *in.LaunchTemplateId, in.LaunchTemplateName != nil && name != "" && name != *in.LaunchTemplateName:
		return fmt.Errorf("%w: response with a version of %s %q", errNotOurs, id, name)
	case image != "" && image != wanted:
		return fmt.Errorf("%w: response with version %d, which has %s, want %s", errNotOurs, aws.ToInt64(v.VersionNumber), image, wanted)
	case aws.ToInt64(v.VersionNumber) < 1:
		return fmt.Errorf("%w: response without the new version's number, which may exist", errUnknownID)
	}
	return nil
}
