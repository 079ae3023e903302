package inuse

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
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
	back      int // templateVersion.back of those added

	mu      sync.Mutex
	refs    []Reference
	aliases map[string][]string // by parameter name: what names it
	errs    []error             // references that could not be parsed
}

func newCollector(at Place) *collector {
	return &collector{at: at, ec2: awsec2.NewFromConfig(at.Config), aliases: map[string][]string{}}
}

const (
	aliasPrefix = "resolve:ssm:"
	imagePrefix = "ami-"
)

// launch adds the image and the user data that something launches with.
func (g *collector) launch(image, userData *string, by string) {
	g.image(aws.ToString(image), by)
	g.add(InText(decodeUserData(aws.ToString(userData)), by+" in its user data")...)
}

// attach adds a snapshot that something makes a volume of at a launch.
func (g *collector) attach(snapshot *string, by string) {
	if id := aws.ToString(snapshot); id != "" {
		g.add(Reference{SnapshotID: id, By: by + " with a volume of " + id})
	}
}

// attachAll adds the snapshots of the mappings of a launch by EC2.
func (g *collector) attachAll(mappings []ec2types.BlockDeviceMapping, by string) {
	for _, m := range mappings {
		if m.Ebs != nil {
			g.attach(m.Ebs.SnapshotId, by)
		}
	}
}

func (g *collector) add(refs ...Reference) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refs = append(g.refs, refs...)
}

// template adds a version of a launch template.
func (g *collector) template(id, name, version *string, by string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.templates = append(g.templates, templateVersion{aws.ToString(id), aws.ToString(name), aws.ToString(version), by, g.back})
}

// alias adds a reference to a parameter: its name or ARN, with a version or label.
func (g *collector) alias(parameter, by string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.aliases[parameter] = append(g.aliases[parameter], by)
}

// image adds a reference to an image id or a parameter. An empty id is ignored.
func (g *collector) image(id, by string) {
	alias, isAlias := strings.CutPrefix(id, aliasPrefix)
	switch {
	case id == "":
	case isAlias:
		g.alias(alias, by)
	case strings.HasPrefix(strings.ToLower(id), imagePrefix):
		g.add(Reference{ImageID: strings.ToLower(id), By: by})
	default:
		g.mu.Lock()
		defer g.mu.Unlock()
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
	return forEach(chunks, func(some []string) error {
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
				values[plainName(name)+aws.ToString(p.Selector)] = value
			}
		}
		for _, name := range some {
			value, ok := values[plainName(name)]
			if !ok && !missing[name] {
				return fmt.Errorf("no answer for parameter %s", name)
			}
			if value = strings.TrimSpace(value); strings.HasPrefix(value, imagePrefix) {
				g.resolved(value, name)
			}
		}
		return nil
	})
}

// plainName returns the name of a parameter without a leading slash: "x" and "/x"
// are the same parameter.
func plainName(name string) string { return strings.TrimPrefix(name, "/") }

// resolved adds the image that a parameter names.
func (g *collector) resolved(id, alias string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, by := range g.aliases[alias] {
		g.refs = append(g.refs, Reference{ImageID: id, By: by + " through parameter " + alias})
	}
}

// forEach calls f for each item, several at a time. It returns the first error,
// after which it begins no further calls: a denied action is one error, not one
// for each item.
func forEach[T any](items []T, f func(T) error) error {
	var first atomic.Pointer[error]
	_ = awsapi.ForEach(items, func(item T) error {
		if first.Load() == nil {
			if err := f(item); err != nil {
				first.CompareAndSwap(nil, &err)
			}
		}
		return nil
	})
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// mostUserData is the most text that compressed user data is unpacked to.
const mostUserData = 1 << 20

// decodeUserData returns the text of user data as EC2 returns it: in base64, and
// perhaps compressed.
func decodeUserData(encoded string) string {
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return encoded
	}
	unpack, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return string(text)
	}
	unpacked, _ := io.ReadAll(io.LimitReader(unpack, mostUserData)) // the part before an error
	return string(unpacked)
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
