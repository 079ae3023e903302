package inuse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A collector gathers references to images by id, by parameter and by version
// of a launch template.
type collector struct {
	at        Place
	ec2       *awsec2.Client
	templates []templateVersion

	mu      sync.Mutex
	refs    []Reference
	aliases map[string][]string // by parameter name: what names it
	errs    []error             // references that could not be parsed
}

func newCollector(at Place) *collector {
	return &collector{at: at, ec2: awsec2.NewFromConfig(at.Config), aliases: map[string][]string{}}
}

const aliasPrefix = "resolve:ssm:"

// image adds a reference to an image id or a parameter. An empty id is ignored.
func (g *collector) image(id, by string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	alias, isAlias := strings.CutPrefix(id, aliasPrefix)
	switch {
	case id == "":
	case isAlias:
		g.aliases[alias] = append(g.aliases[alias], by)
	case strings.HasPrefix(id, "ami-"):
		g.refs = append(g.refs, Reference{ImageID: id, By: by})
	default:
		g.errs = append(g.errs, fmt.Errorf("unknown image reference %q of %s", id, by))
	}
}

// parametersPerCall is how many names GetParameters takes.
const parametersPerCall = 10

// resolveAliases reads the parameters that name images, in the version or with
// the label that the reference asks for. A parameter that does not exist or
// holds something else cannot launch anything.
func (g *collector) resolveAliases(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(g.aliases))
	if len(names) == 0 {
		return nil
	}
	client := ssm.NewFromConfig(g.at.Config)
	chunks := slices.Collect(slices.Chunk(names, parametersPerCall))
	return awsapi.ForEach(chunks, func(some []string) error {
		out, err := client.GetParameters(ctx, &ssm.GetParametersInput{Names: some})
		if err != nil {
			return err
		}
		missing := map[string]bool{}
		for _, name := range out.InvalidParameters {
			missing[name] = true
		}
		values := map[string]string{}
		for _, p := range out.Parameters {
			value := aws.ToString(p.Value)
			for _, name := range []string{aws.ToString(p.Name), aws.ToString(p.ARN)} {
				values[name+aws.ToString(p.Selector)] = value
			}
		}
		for _, name := range some {
			value, ok := values[name]
			if !ok && !missing[name] {
				return fmt.Errorf("no answer for parameter %s", name)
			}
			if strings.HasPrefix(value, "ami-") {
				g.resolved(value, name)
			}
		}
		return nil
	})
}

// resolved adds the image that a parameter names.
func (g *collector) resolved(id, alias string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, by := range g.aliases[alias] {
		g.refs = append(g.refs, Reference{ImageID: id, By: by + " through parameter " + alias})
	}
}

// notThere reports whether err says that a resource does not exist.
func notThere(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode() {
	case "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound",
		"InvalidLaunchTemplateName.NotFoundException", "ResourceNotFoundException":
		return true
	default:
		return false
	}
}
