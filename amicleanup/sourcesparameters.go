package amicleanup

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// Parameters is the source of the images that parameters of Systems Manager
// name: those of the data type aws:ec2:image, and, whatever their type, those
// below the given paths. Only current values count; an older version that a
// launch template is pinned to is found by the source of that template. It
// needs Target.Parameters.
func Parameters(paths ...string) Source { return parameters(paths) }

type parameters []string

func (p parameters) Name() string {
	if len(p) == 0 {
		return "parameters"
	}
	return "parameters and " + strings.Join(p, ", ")
}

func (p parameters) IAMActions() []string {
	actions := []string{"ssm:DescribeParameters", "ssm:GetParameters"}
	if len(p) > 0 {
		actions = append(actions, "ssm:GetParametersByPath")
	}
	return actions
}

func (parameters) needs(t Target) string {
	if t.Parameters == nil {
		return "Parameters"
	}
	return ""
}

// Bounds of the calls of the Parameter Store.
const (
	parametersPerPage     = 50
	parametersPerPathPage = 10
)

func (p parameters) References(ctx context.Context, t Target) ([]Reference, error) {
	var names []string
	pages := ssm.NewDescribeParametersPaginator(t.Parameters, &ssm.DescribeParametersInput{
		MaxResults:       aws.Int32(parametersPerPage),
		ParameterFilters: []ssmtypes.ParameterStringFilter{{Key: aws.String("DataType"), Values: []string{"aws:ec2:image"}}},
	}, func(o *ssm.DescribeParametersPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := eachPage(ctx, pages, func(page *ssm.DescribeParametersOutput) *string {
		for _, one := range page.Parameters {
			names = append(names, aws.ToString(one.Name))
		}
		return page.NextToken
	})
	if err != nil {
		return nil, err
	}
	found := &imageValues{}
	err = atOnce(slices.Collect(slices.Chunk(names, parametersPerCall)), func(some []string) error {
		out, err := t.Parameters.GetParameters(ctx, &ssm.GetParametersInput{Names: some})
		if err == nil {
			found.add(out.Parameters) // one that is not there any more is in InvalidParameters
		}
		return err
	})
	if err != nil {
		return found.refs, err
	}
	err = atOnce(p, func(path string) error {
		below := ssm.NewGetParametersByPathPaginator(t.Parameters, &ssm.GetParametersByPathInput{
			Path: aws.String(path), Recursive: aws.Bool(true), MaxResults: aws.Int32(parametersPerPathPage),
		}, func(o *ssm.GetParametersByPathPaginatorOptions) { o.StopOnDuplicateToken = true })
		return eachPage(ctx, below, func(page *ssm.GetParametersByPathOutput) *string {
			found.add(page.Parameters)
			return page.NextToken
		})
	})
	return found.refs, err
}

// imageValues collects the images that parameters name.
type imageValues struct {
	mu   sync.Mutex
	refs []Reference
}

// add takes every value that is an image id, or a list with some.
func (v *imageValues) add(list []ssmtypes.Parameter) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range list {
		for value := range strings.SplitSeq(aws.ToString(p.Value), ",") {
			ref := Reference{ImageID: strings.TrimSpace(value), By: "parameter " + aws.ToString(p.Name)}
			if strings.HasPrefix(ref.ImageID, "ami-") && !slices.Contains(v.refs, ref) {
				v.refs = append(v.refs, ref)
			}
		}
	}
}
