// Package inuse finds what uses machine images: instances, launch templates,
// Auto Scaling groups, fleets, parameters and more. Package
// [github.com/bakestone-go/bakestone/amicleanup] keeps the images that a
// [Source] of this package, or of the caller, reports:
//
//	amicleanup.InUse(inuse.Standard()...)
//	amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates())
//
// A source either lists all references in a region or answers questions about
// given images, shortly before they would be removed:
//
//	Standard               lists what EC2, Auto Scaling and the Parameter Store name
//	  Instances            that are not terminated
//	  LaunchTemplates      default and latest versions, with their user data
//	  LaunchConfigurations with their user data
//	  AutoScalingGroups    the versions they name, overrides, running refreshes, and what
//	                       ec2.InstanceRefresh could roll back to
//	  SpotRequests         that are open or active
//	  SpotFleets, Fleets   that are not deleted
//	  Parameters           String and StringList, ids anywhere in the value
//	All                    lists these and what other services name
//	  NodeGroups           of EKS
//	  BatchEnvironments    Batch compute environments
//	  ImageBuilder         recipes
//	others                 list more, at a price
//	  AllLaunchTemplateVersions  keeps what only old versions name
//	  SecureParameters     decrypts secure strings
//	asked                  by EC2's own knowledge
//	  ImageReferences      within the account
//	  UsageReports         in other accounts
//
// These cover services that launch through launch templates and Auto Scaling
// groups: CloudFormation stacks, Elastic Beanstalk environments, ECS capacity
// providers. WorkSpaces and AppStream copy an AMI when they import it, and do not
// use it afterwards.
//
// Not read are AMIs that these name and have no instance of at the moment: EMR
// clusters (CustomAmiId), Parallel Computing Service node groups, SageMaker HyperPod
// clusters, CodeBuild fleets, RDS Custom engine versions, custom platforms of Elastic
// Beanstalk, WorkSpaces Instances; and node selectors in Kubernetes, stacks in other
// tools, and files, for which amicleanup.IDsInFiles is a rule. A source for any of
// them is a value with a name and a func:
//
//	fleets := inuse.Source{
//		Name: "build fleets",
//		List: func(ctx context.Context, at inuse.Place) ([]inuse.Reference, error) {
//			client := codebuild.NewFromConfig(at.Config)
//			...
//			return refs, err
//		},
//		Permissions: inuse.Reads("codebuild:ListFleets", "codebuild:BatchGetFleets"),
//	}
package inuse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

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

// A Reference reports that something uses an image or attaches a snapshot.
type Reference struct {
	ImageID    string
	SnapshotID string // of a volume that a launch makes; ImageID is empty then
	By         string // "instance i-0123456789abcdef0"
	Source     string // the name of the source, set by the caller of List or Ask
}

// Used returns the id of the image or the snapshot.
func (r Reference) Used() string { return cmp.Or(r.ImageID, r.SnapshotID) }

// Reads returns permissions to make read calls on all resources, for
// [Source].Permissions.
func Reads(actions ...string) func(region string) []iampolicy.Statement {
	return func(string) []iampolicy.Statement {
		return []iampolicy.Statement{iampolicy.Allow("Look", actions, []string{"*"}, nil)}
	}
}

// InText returns a reference by something to every image id in a text, wherever it
// stands and in any case: in JSON, in a list, behind a region, in text of UTF-16.
func InText(text, by string) []Reference {
	text = strings.ReplaceAll(text, "\x00", "") // between the letters of UTF-16
	var refs []Reference
	seen := map[string]bool{}
	for _, id := range imageID.FindAllString(text, -1) {
		if id = strings.ToLower(id); !seen[id] {
			seen[id] = true
			refs = append(refs, Reference{ImageID: id, By: by})
		}
	}
	return refs
}

// imageID matches an image id anywhere in a text.
var imageID = regexp.MustCompile(`(?i)ami-[0-9a-f]{8,17}`)

// All returns every source of this package that lists what may still launch an
// image: those of [Standard], [NodeGroups], [BatchEnvironments] and [ImageBuilder].
// The last three read services of their own, which must exist in the region.
// Standard already covers the instances, launch templates and Auto Scaling groups
// that EKS and Batch create.
func All() []Source {
	return append(Standard(), NodeGroups(), BatchEnvironments(), ImageBuilder())
}

// Standard returns the sources of this package that list references by reading
// EC2, Auto Scaling and the Parameter Store: [Instances], [LaunchTemplates],
// [LaunchConfigurations], [AutoScalingGroups], [SpotRequests], [SpotFleets],
// [Fleets] and [Parameters] with all parameters.
func Standard() []Source {
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
