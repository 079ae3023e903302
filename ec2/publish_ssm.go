package ec2

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// An SSMParameter is a bake.Publisher that writes the AMI's id into a parameter
// of Systems Manager, in every region and account where the AMI is: a name that
// stays while AMIs come and go. A [ParameterName] reads it.
type SSMParameter struct {
	// Name is the parameter's: "/images/web". It is required.
	Name string

	// Description is the parameter's. Empty sets none.
	Description string

	// Tier is "Standard", "Advanced" or "Intelligent-Tiering". Empty is what the
	// region's settings say.
	Tier string

	// PlainText gives the parameter the data type "text". By default it is
	// "aws:ec2:image": Systems Manager then checks that the AMI can be used, which
	// is waited for, and the parameter can stand for it in launch templates.
	PlainText bool

	// NoOverwrite fails when there is such a parameter with another value; if
	// there is one before the bake, before anything is created.
	NoOverwrite bool

	// Regions narrows where. Empty is every place of the AMI.
	Regions []string
}

var (
	_ bake.Validator     = SSMParameter{}
	_ PolicyPublisher    = SSMParameter{}
	_ RegionalPublisher  = SSMParameter{}
	_ PreflightPublisher = SSMParameter{}
	_ PlannedPublisher   = SSMParameter{}

	parameterName = regexp.MustCompile(`^/?[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*$`)
)

// String names the parameter.
func (p SSMParameter) String() string { return "parameter " + p.Name }

// Validate reports a name that Systems Manager does not take.
func (p SSMParameter) Validate() error {
	const longest, deepest = 1011, 15
	var errs []error
	lower := strings.ToLower(strings.TrimPrefix(p.Name, "/"))
	switch {
	case p.Name == "":
		errs = append(errs, bake.Invalid("SSMParameter.Name", "is required"))
	case !parameterName.MatchString(p.Name) || len(p.Name) > longest || strings.Count(p.Name, "/") > deepest:
		errs = append(errs, bake.Invalid("SSMParameter.Name", "%q: it has letters, digits and _.- in at most %d levels, divided by /", p.Name, deepest))
	case strings.Contains(p.Name, "/") && !strings.HasPrefix(p.Name, "/"):
		errs = append(errs, bake.Invalid("SSMParameter.Name", "%q: a name with levels begins with /", p.Name))
	case strings.HasPrefix(lower, "aws") || strings.HasPrefix(lower, "ssm"):
		errs = append(errs, bake.Invalid("SSMParameter.Name", "%q: names that begin with aws or ssm are reserved", p.Name))
	}
	if tier := ssmtypes.ParameterTier(p.Tier); p.Tier != "" && !slices.Contains(tier.Values(), tier) {
		errs = append(errs, bake.Invalid("SSMParameter.Tier", "%q is none of %v", p.Tier, tier.Values()))
	}
	return errors.Join(errs...)
}

// Destinations returns the destinations in Regions.
func (p SSMParameter) Destinations(all []Destination) ([]Destination, error) {
	return destinationsIn(p.Regions, all, "SSMParameter.Regions")
}

// PlannedCalls returns the API action of Publish.
func (p SSMParameter) PlannedCalls() []string { return []string{"PutParameter"} }

// IAMPolicy returns what Preflight and Publish need.
func (p SSMParameter) IAMPolicy(regions ...string) *iampolicy.Document {
	actions := []string{"ssm:PutParameter"}
	if p.NoOverwrite || !p.PlainText {
		actions = append(actions, "ssm:GetParameter")
	}
	var g grants
	for _, r := range regions {
		g = append(g, grant{"Publish", actions, parameterARNs(r, p.Name), nil})
	}
	return g.document()
}

// Preflight reports a parameter that exists, if it must not be overwritten.
func (p SSMParameter) Preflight(ctx context.Context, at Destination) error {
	if !p.NoOverwrite {
		return nil
	}
	r := at.Cloud.region(at.Region)
	exists, err := r.lookups.answers.get(ctx, p.String(), func(ctx context.Context) (bool, error) {
		_, err := r.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(p.Name)})
		if _, missing := errors.AsType[*ssmtypes.ParameterNotFound](err); missing {
			return false, nil
		}
		return err == nil, err
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", p, err)
	case exists:
		return bake.Invalid("SSMParameter.NoOverwrite", "there is a %s", p)
	}
	return nil
}

// Publish sets the parameter everywhere.
func (p SSMParameter) Publish(ctx context.Context, a bake.Artifact) error {
	ami, err := AMIOf(a)
	if err != nil {
		return err
	}
	in := ssm.PutParameterInput{
		Name: aws.String(p.Name), Type: ssmtypes.ParameterTypeString, DataType: aws.String("aws:ec2:image"),
		Tier: ssmtypes.ParameterTier(p.Tier), Overwrite: aws.Bool(!p.NoOverwrite),
	}
	if p.PlainText {
		in.DataType = aws.String("text")
	}
	if p.Description != "" {
		in.Description = aws.String(p.Description)
	}
	return ami.publish(p.Regions, func(place AMICopy) error {
		r, in := place.cloud.region(place.Region), in
		in.Value = aws.String(place.ImageID)
		put, err := r.ssm.PutParameter(ctx, &in)
		if exists := (*ssmtypes.ParameterAlreadyExists)(nil); errors.As(err, &exists) {
			// Perhaps we set it, and the answer was lost.
			out, getErr := r.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: in.Name})
			if getErr == nil && aws.ToString(out.Parameter.Value) == place.ImageID {
				put, err = &ssm.PutParameterOutput{}, nil
			}
		}
		if err == nil && !p.PlainText {
			err = p.await(ctx, r, place.ImageID, put.Version)
		}
		if err != nil {
			return err
		}
		say(ctx, "parameter %s in %s is %s", p.Name, destinationName(place.Account, place.Region), place.ImageID)
		return nil
	})
}

// await waits until the parameter is what it was set to. Systems Manager looks at
// the AMI after it has answered, and changes nothing if it cannot be used: see
// PutParameter in its API reference. A later version is somebody else's.
func (p SSMParameter) await(ctx context.Context, r *region, id string, version int64) error {
	const patience = time.Minute
	until := r.clock.Now().Add(patience)
	var value string
	err := clock.WaitFor(ctx, r.clock, retryEvery, func(ctx context.Context) (bool, error) {
		out, err := r.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(p.Name)})
		if _, missing := errors.AsType[*ssmtypes.ParameterNotFound](err); missing {
			return !r.clock.Now().Before(until), nil
		}
		if err != nil {
			return false, err
		}
		value = aws.ToString(out.Parameter.Value)
		if version > 0 && out.Parameter.Version > version {
			value = id
		}
		return value == id || !r.clock.Now().Before(until), nil
	})
	switch {
	case awsapi.Code(err) == "AccessDeniedException": // to set it needs no right to read it
		say(ctx, "%s in %s could not be looked at: %v", p, r.name, err)
		return nil
	case err == nil && value != id:
		return fmt.Errorf("it is still %q: Systems Manager has not taken %s as an AMI within %v", value, id, patience)
	}
	return err
}
