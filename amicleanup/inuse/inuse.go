// Package inuse finds what uses machine images: instances, launch templates,
// Auto Scaling groups, fleets, parameters and more. Package
// [github.com/bakestone-go/bakestone/amicleanup] keeps the images that a
// [Source] of this package, or of the caller, reports:
//
//	amicleanup.InUse(inuse.All()...)
//	amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates())
//
// A source either lists all references in a region or answers questions about
// given images. [All] returns every source that lists and needs no permission
// beyond EC2, Auto Scaling and Systems Manager. [NodeGroups], which reads EKS,
// is separate: EKS copies the launch template of a node group for the group's
// Auto Scaling group, which [AutoScalingGroups] reads. [ImageReferences] and
// [UsageReports] ask EC2 about images that are about to be removed.
//
// Not read are Batch compute environments, Image Builder pipelines, WorkSpaces,
// AppStream, EMR, SageMaker, Kubernetes node selectors and files. A source for
// one of them is a value with a name and a func:
//
//	batch := inuse.Source{
//		Name: "batch environments",
//		List: func(ctx context.Context, at inuse.Place) ([]inuse.Reference, error) {
//			out, err := batch.NewFromConfig(at.Config).DescribeComputeEnvironments(ctx, nil)
//			...
//		},
//		Permissions: inuse.Reads("batch:DescribeComputeEnvironments"),
//	}
package inuse

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// A Source finds what uses images. Set exactly one of List and Ask.
type Source struct {
	// Name identifies the source in plans: "instances". It is required and
	// unique in a policy.
	Name string

	// List returns every reference of this kind in a region of an account. An
	// error means that the list is incomplete, and keeps all images there.
	List func(ctx context.Context, at Place) ([]Reference, error)

	// Ask returns what uses the images with the given ids, which would
	// otherwise be removed. An error keeps all of them.
	Ask func(ctx context.Context, at Place, images []string) ([]Reference, error)

	// SharedOnly limits Ask to images that others may launch, and to the
	// account that owns them. Otherwise every account of the region is asked.
	SharedOnly bool

	// Slow sources are read when a plan is made and when it is applied, but
	// not again while the plan is being applied.
	Slow bool

	// Permissions returns what the source needs in a region, for least-
	// privilege policies. If nil, it is left out of them.
	Permissions func(region string) []iampolicy.Statement
}

// A Place is one region of one account, where a source looks.
type Place struct {
	// Config has the region and the credentials, and the call limits of the
	// target.
	Config aws.Config

	// Clock tells time and sleeps. If nil, the system clock is used.
	Clock clock.Clock
}

// A Reference reports that something uses an image.
type Reference struct {
	ImageID string
	By      string // "instance i-0123456789abcdef0"
	Source  string // the name of the source, set by the caller of List or Ask
}

// Reads returns permissions to make read calls on all resources, for
// [Source].Permissions.
func Reads(actions ...string) func(region string) []iampolicy.Statement {
	return func(string) []iampolicy.Statement {
		return []iampolicy.Statement{iampolicy.Allow("Look", actions, []string{"*"}, nil)}
	}
}

// InText returns a reference by something to every image id in a text, wherever it
// stands: in JSON, in a list, behind a region.
func InText(text, by string) []Reference {
	var refs []Reference
	for _, id := range imageID.FindAllString(text, -1) {
		if ref := (Reference{ImageID: id, By: by}); !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	return refs
}

// imageID matches an image id anywhere in a text.
var imageID = regexp.MustCompile(`ami-[0-9a-f]{8,17}`)

// All returns the sources of this package that list references by reading EC2,
// Auto Scaling and the Parameter Store: [Instances], [LaunchTemplates],
// [LaunchConfigurations], [AutoScalingGroups], [SpotRequests], [SpotFleets],
// [Fleets] and [Parameters] with all parameters.
func All() []Source {
	return []Source{
		Instances(), LaunchTemplates(), LaunchConfigurations(), AutoScalingGroups(),
		SpotRequests(), SpotFleets(), Fleets(), Parameters(),
	}
}

// AtLeast returns source with an error when it lists fewer than n references.
// For an account that is known to run something, an empty list is more likely
// a mistake than the truth.
func AtLeast(n int, source Source) Source {
	list := source.List
	if list == nil {
		return source
	}
	source.List = func(ctx context.Context, at Place) ([]Reference, error) {
		refs, err := list(ctx, at)
		if err == nil && len(refs) < n {
			err = fmt.Errorf("only %d references, want at least %d", len(refs), n)
		}
		return refs, err
	}
	return source
}

// Validate reports a source without a name, or without exactly one func.
func (s *Source) Validate() error {
	switch {
	case s.Name == "":
		return errors.New("source without a name")
	case (s.List == nil) == (s.Ask == nil):
		return fmt.Errorf("source %q: exactly one of List and Ask is required", s.Name)
	}
	return nil
}
