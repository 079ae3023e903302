package ec2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A BakePlan is what baking some images would do. It marshals to JSON.
type BakePlan struct {
	Images []ImagePlan `json:"images"`
}

// An ImagePlan is what baking one image would do.
type ImagePlan struct {
	Image  string `json:"image"`
	Region string `json:"region"`

	// Source is the AMI to start from, found in EC2. It is zero when it is yet
	// to be baked: From is then the name of its image.
	Source SourceImage `json:"source,omitzero"`
	From   string      `json:"from,omitempty"`

	// Launch is how the instance would be launched: the first way, and what
	// comes next when EC2 has no capacity.
	Launch []string `json:"launch"`

	// Creates is what the bake would create, in order, and what of it would stay.
	Creates []PlannedResource `json:"creates"`

	// Calls are the API calls that would create, change or remove something, in
	// the order of their first time. Calls that only look come besides.
	Calls []PlannedCall `json:"calls"`
}

// A PlannedResource is something that a bake would create.
type PlannedResource struct {
	Kind   string `json:"kind"` // as in bake.Resource: "instance", "image"
	Name   string `json:"name"`
	Region string `json:"region"`
	Stays  bool   `json:"stays"` // when the bake has succeeded
}

// A PlannedCall is an API call that a bake would make, once or several times.
type PlannedCall struct {
	Action string `json:"action"`
	Region string `json:"region"`
	Role   string `json:"role,omitempty"` // the ARN of the role that makes it, if Assume did

	// DryRun is what EC2 said when it was asked whether it would do it: "ok", or
	// the code of its refusal. Empty is not asked: what the call is about does
	// not exist yet.
	DryRun string `json:"dry_run,omitempty"`
}

// Plan finds out what bake.Bake would do with the images: from which source,
// where, with which calls. It creates nothing. Sources and networks are looked
// up in EC2, and EC2 is asked by dry runs whether it would launch the instance
// and make its security group for these credentials. An image with a
// Fingerprint is planned as if nothing could be reused; publishers and steps of
// others than this package are left out.
//
// The error joins what is wrong with the images, what was not found, and what
// EC2 refused, each with the name of its image. The plan holds the rest; it is
// nil when the images themselves are wrong.
func Plan(ctx context.Context, images ...*bake.Image) (*BakePlan, error) {
	if err := bake.Validate(nil, images...); err != nil {
		return nil, err
	}
	plan := &BakePlan{}
	var errs []error
	for _, img := range images {
		b, ok := builderOf(img)
		if !ok {
			errs = append(errs, &bake.Error{Image: img.Name, Err: errors.New("its builder is not of this package")})
			continue
		}
		one, err := b.plan(ctx, img)
		plan.Images = append(plan.Images, one)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return plan, errors.Join(errs...)
}

// WriteText writes the plan for people.
func (p *BakePlan) WriteText(w io.Writer) error {
	var text strings.Builder
	for _, i := range p.Images {
		fmt.Fprintf(&text, "%s in %s\n", i.Image, i.Region)
		source := "what " + i.From + " becomes"
		if i.From == "" {
			source = fmt.Sprintf("%s %q of %s, created %s", i.Source.ID, i.Source.Name, i.Source.Owner, i.Source.Created.Format(time.DateOnly))
		}
		fmt.Fprintf(&text, "  source   %s\n", source)
		for n, way := range i.Launch {
			fmt.Fprintf(&text, "  %-8s %s\n", map[bool]string{true: "launch", false: "or"}[n == 0], way)
		}
		for _, r := range i.Creates {
			stays := ""
			if r.Stays {
				stays = ", which stays"
			}
			fmt.Fprintf(&text, "  creates  %s %s in %s%s\n", r.Kind, r.Name, r.Region, stays)
		}
		for _, c := range i.Calls {
			fmt.Fprintf(&text, "  calls    %s in %s", c.Action, c.Region)
			if c.Role != "" {
				fmt.Fprintf(&text, " as %s", c.Role)
			}
			if c.DryRun != "" {
				fmt.Fprintf(&text, " (dry run: %s)", c.DryRun)
			}
			text.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// dryRun makes a call that EC2 is asked to do nothing for. Its answer is what
// PlannedCall.DryRun holds, and an error if that is a refusal.
func dryRun(call func(dry *bool) error) (answer string, err error) {
	err = call(aws.Bool(true))
	switch code := awsapi.Code(err); {
	case code == "DryRunOperation":
		return "ok", nil
	case code != "":
		return code, err
	case err != nil:
		return "no answer", err
	default:
		return "", errors.New("EC2 did what it was asked to try")
	}
}
