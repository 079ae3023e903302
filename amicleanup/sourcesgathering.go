package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
)

// A gathering collects references: images that are named as such, by a
// parameter, or by a version of a launch template.
type gathering struct {
	target    Target
	templates []templateVersion

	mu      sync.Mutex
	refs    []Reference
	aliases map[string][]string // by name of the parameter: what names it
	errs    []error             // what was not understood
}

func newGathering(t Target) *gathering { return &gathering{target: t, aliases: map[string][]string{}} }

const aliasPrefix = "resolve:ssm:"

// image adds that something names an image, if it names one at all.
func (g *gathering) image(id, by string) {
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
		g.errs = append(g.errs, fmt.Errorf("%s names its image as %s", by, id))
	}
}

// parametersPerCall is how many names GetParameters takes.
const parametersPerCall = 10

// resolveAliases looks the parameters up that name images, with the version or
// label that they may be pinned to. A parameter that is not there, or is no
// image, can launch nothing.
func (g *gathering) resolveAliases(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(g.aliases))
	if len(names) == 0 {
		return nil
	}
	if g.target.Parameters == nil {
		return bake.Invalid("Target.Parameters", "is required: %s names its image by a parameter", g.aliases[names[0]][0])
	}
	chunks := slices.Collect(slices.Chunk(names, parametersPerCall))
	return atOnce(chunks, func(some []string) error {
		out, err := g.target.Parameters.GetParameters(ctx, &ssm.GetParametersInput{Names: some})
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
				return fmt.Errorf("parameter %s was asked for and not answered", name)
			}
			if strings.HasPrefix(value, "ami-") {
				g.resolved(value, name)
			}
		}
		return nil
	})
}

// resolved adds the image that a parameter names.
func (g *gathering) resolved(id, alias string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, by := range g.aliases[alias] {
		g.refs = append(g.refs, Reference{ImageID: id, By: by + " through parameter " + alias})
	}
}

// notThere reports that what was named does not exist any more.
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
