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

// A BakePlan describes what baking images would do. It marshals to JSON.
type BakePlan struct {
	Images []ImagePlan `json:"images"`
}

// An ImagePlan describes what baking one image would do.
type ImagePlan struct {
	Image  string `json:"image"`
	Region string `json:"region"`

	// Source is the AMI to start from. It is zero if the image is baked from
	// another image of the plan; From is then that image's name.
	Source SourceImage `json:"source,omitzero"`
	From   string      `json:"from,omitempty"`

	// Launch lists the ways to launch the instance, in the order in which they
	// would be tried while EC2 has no capacity.
	Launch []string `json:"launch"`

	// Creates lists the resources that the bake would create, in order.
	Creates []PlannedResource `json:"creates"`

	// Publishes tells what publishers would do that declare it: which Auto Scaling
	// groups an [InstanceRefresh] would refresh.
	Publishes []string `json:"publishes,omitempty"`

	// Calls lists the API calls that would create, change or remove something,
	// in the order of their first use. It does not list read-only calls.
	Calls []PlannedCall `json:"calls"`
}

// A PlannedResource is a resource that a bake would create.
type PlannedResource struct {
	Kind   string `json:"kind"` // as in bake.Resource: "instance", "image"
	Name   string `json:"name"`
	Region string `json:"region"`
	Stays  bool   `json:"stays"` // after a successful bake
}

// A PlannedCall is an API call that a bake would make, once or several times.
type PlannedCall struct {
	Action string `json:"action"`
	Region string `json:"region"`
	Role   string `json:"role,omitempty"` // the ARN of the assumed role that makes the call

	// DryRun is EC2's response to a dry run of the call: "ok" or an error code.
	// It is empty for calls without a dry run, since they depend on resources
	// that do not exist yet.
	DryRun string `json:"dry_run,omitempty"`
}

// Plan returns what [bake.Bake] would do with the images: from which source, in
// which regions, with which calls. It creates nothing. It looks up sources and
// networks in EC2, and makes dry runs of the calls that launch the instance and
// create its security group. It plans images with a Fingerprint as if nothing could
// be reused. It leaves out steps of Image.Steps and publishers that are not a
// [PlannedPublisher].
//
// The error joins everything that is invalid, was not found, or was refused by EC2,
// with the names of the images. The plan contains the rest; it is nil if the images
// are invalid.
func Plan(ctx context.Context, images ...*bake.Image) (*BakePlan, error) {
	if err := bake.Validate(nil, images...); err != nil {
		return nil, err
	}
	plan := &BakePlan{}
	var errs []error
	for _, img := range images {
		b, ok := builderOf(img)
		if !ok {
			errs = append(errs, &bake.Error{Image: img.Name, Err: errors.New("builder is not an ec2.Builder")})
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

// WriteText writes the plan in human-readable form.
func (p *BakePlan) WriteText(w io.Writer) error {
	var text strings.Builder
	for _, i := range p.Images {
		fmt.Fprintf(&text, "%s in %s\n", i.Image, i.Region)
		source := "image " + i.From
		if i.From == "" && i.Source.Owner == "" {
			source = "disk " + i.Source.Name
		} else if i.From == "" {
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
		for _, line := range i.Publishes {
			fmt.Fprintf(&text, "  then     %s\n", line)
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

// dryRun makes a dry run of a call. It returns the value of PlannedCall.DryRun, and
// EC2's error if EC2 would refuse the call.
func dryRun(call func(dry *bool) error) (answer string, err error) {
	err = call(aws.Bool(true))
	switch code := awsapi.Code(err); {
	case code == "DryRunOperation":
		return "ok", nil
	case code != "":
		return code, err
	case err != nil:
		return "no response", err
	default:
		return "", errors.New("EC2 ignored the dry run")
	}
}
