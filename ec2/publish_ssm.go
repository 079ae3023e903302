package ec2

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// An SSMParameter is a [bake.Publisher] that writes the AMI's id into a parameter of
// Systems Manager, in every region and account that has the AMI. The source
// [ParameterName] reads it.
type SSMParameter struct {
	// Name is the parameter's name: "/images/web". It is required.
	Name string

	// Description is the parameter's description. Empty sets none.
	Description string

	// Tier is "Standard", "Advanced" or "Intelligent-Tiering". Empty means the
	// region's default.
	Tier string

	// PlainText sets the parameter's data type to "text". By default it is
	// "aws:ec2:image": Systems Manager then verifies the AMI, which Publish waits
	// for, and launch templates can refer to the parameter.
	PlainText bool

	// NoOverwrite makes Publish fail if the parameter exists with another value.
	// A parameter that exists before the bake is reported before anything is
	// created.
	NoOverwrite bool

	// Regions restricts the regions. Empty means all.
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

// String returns "parameter " and the name.
func (p SSMParameter) String() string { return "parameter " + p.Name }

// Validate reports names and tiers that Systems Manager does not accept.
func (p SSMParameter) Validate() error {
	const longest, deepest, longestText = 1011, 15, 1024
	var errs []error
	lower := strings.ToLower(strings.TrimPrefix(p.Name, "/"))
	switch {
	case p.Name == "":
		errs = append(errs, bake.Invalid("SSMParameter.Name", "is required"))
	case !parameterName.MatchString(p.Name) || len(p.Name) > longest || strings.Count(p.Name, "/") > deepest:
		errs = append(errs, bake.Invalid("SSMParameter.Name", "invalid name %q: want letters, digits and _.- in at most %d levels, separated by /", p.Name, deepest))
	case strings.Contains(p.Name, "/") && !strings.HasPrefix(p.Name, "/"):
		errs = append(errs, bake.Invalid("SSMParameter.Name", "invalid name %q: names with levels must begin with /", p.Name))
	case strings.HasPrefix(lower, "aws") || strings.HasPrefix(lower, "ssm"):
		errs = append(errs, bake.Invalid("SSMParameter.Name", "invalid name %q: names that begin with aws or ssm are reserved", p.Name))
	}
	if n := utf8.RuneCountInString(p.Description); n > longestText {
		errs = append(errs, bake.Invalid("SSMParameter.Description", "is %d characters, want at most %d", n, longestText))
	}
	if tier := ssmtypes.ParameterTier(p.Tier); p.Tier != "" && !slices.Contains(tier.Values(), tier) {
		errs = append(errs, bake.Invalid("SSMParameter.Tier", "unknown value %q, want one of %v", p.Tier, tier.Values()))
	}
	return errors.Join(append(errs, checkRedacted("SSMParameter", p))...)
}

// Destinations returns the destinations in Regions.
func (p SSMParameter) Destinations(all []Destination) ([]Destination, error) {
	return destinationsIn(p.Regions, all, "SSMParameter.Regions")
}

// PlannedCalls returns the API action that Publish calls.
func (p SSMParameter) PlannedCalls() []string { return []string{"PutParameter"} }

// IAMPolicy returns the permissions that Preflight and Publish need.
func (p SSMParameter) IAMPolicy(regions ...string) *iampolicy.Document {
	actions := []string{"ssm:PutParameter"}
	if p.NoOverwrite || !p.PlainText {
		actions = append(actions, "ssm:GetParameter")
	}
	g := make(grants, 0, len(regions))
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
		return bake.Invalid("SSMParameter.NoOverwrite", "%s already exists", p)
	}
	return nil
}

// Publish sets the parameter at every destination.
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
			// An earlier attempt may have set it and lost the response.
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

// await waits until the parameter has its new value. Systems Manager verifies the
// AMI after it has responded, and discards the change if the AMI is invalid: see
// PutParameter in its API reference. A later version was set by another program.
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
	case awsapi.Code(err) == "AccessDeniedException": // setting it does not need permission to read it
		say(ctx, "cannot read %s in %s: %v", p, r.name, err)
		return nil
	case err == nil && value != id:
		return fmt.Errorf("value is still %q: Systems Manager did not accept AMI %s within %v", value, id, patience)
	}
	return err
}
