package inuse

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// Parameters returns the source of the images that parameters of Systems
// Manager name. Ids count wherever they stand in the value: in JSON, in a list,
// on several lines, behind a region.
//
// Without paths, the source reads every parameter of the types String and
// StringList, which takes about one call for eight of them. With paths, it reads
// the parameters of the data type aws:ec2:image and all below the given paths.
// Secure strings are never read. Only current values count; an older version
// that a launch template names is found by [LaunchTemplates].
func Parameters(paths ...string) Source {
	p := parameters(paths)
	s := Source{Name: "parameters", List: p.list, Permissions: Reads("ssm:DescribeParameters", "ssm:GetParameters")}
	if len(paths) > 0 {
		s.Name += " and " + strings.Join(paths, ", ")
		s.Permissions = Reads("ssm:DescribeParameters", "ssm:GetParameters", "ssm:GetParametersByPath")
	}
	return s
}

type parameters []string

// Page sizes of the Parameter Store.
const (
	parametersPerPage     = 50
	parametersPerPathPage = 10
)

func (p parameters) list(ctx context.Context, at Place) ([]Reference, error) {
	client := ssm.NewFromConfig(at.Config)
	names, err := p.names(ctx, client)
	if err != nil {
		return nil, err
	}
	found := &imageValues{}
	err = awsapi.ForEach(slices.Collect(slices.Chunk(names, parametersPerCall)), func(some []string) error {
		out, err := client.GetParameters(ctx, &ssm.GetParametersInput{Names: some})
		if err == nil {
			found.add(out.Parameters) // InvalidParameters were deleted in the meantime
		}
		return err
	})
	if err != nil {
		return found.refs, err
	}
	err = awsapi.ForEach(p, func(path string) error {
		below := ssm.NewGetParametersByPathPaginator(client, &ssm.GetParametersByPathInput{
			Path: aws.String(path), Recursive: aws.Bool(true), MaxResults: aws.Int32(parametersPerPathPage),
		}, func(o *ssm.GetParametersByPathPaginatorOptions) { o.StopOnDuplicateToken = true })
		return awsapi.EachPage(ctx, below, func(page *ssm.GetParametersByPathOutput) *string {
			found.add(page.Parameters)
			return page.NextToken
		})
	})
	return found.refs, err
}

// names returns the parameters to read one by one: all strings, or those of the
// image data type if there are paths.
func (p parameters) names(ctx context.Context, client *ssm.Client) ([]string, error) {
	filter := ssmtypes.ParameterStringFilter{Key: aws.String("DataType"), Values: []string{"aws:ec2:image"}}
	if len(p) == 0 {
		filter = ssmtypes.ParameterStringFilter{Key: aws.String("Type"), Values: []string{
			string(ssmtypes.ParameterTypeString), string(ssmtypes.ParameterTypeStringList),
		}}
	}
	var names []string
	pages := ssm.NewDescribeParametersPaginator(client, &ssm.DescribeParametersInput{
		MaxResults: aws.Int32(parametersPerPage), ParameterFilters: []ssmtypes.ParameterStringFilter{filter},
	}, func(o *ssm.DescribeParametersPaginatorOptions) { o.StopOnDuplicateToken = true })
	err := awsapi.EachPage(ctx, pages, func(page *ssm.DescribeParametersOutput) *string {
		for i := range page.Parameters {
			names = append(names, aws.ToString(page.Parameters[i].Name))
		}
		return page.NextToken
	})
	return names, err
}

// imageValues collects the images that values of parameters name.
type imageValues struct {
	mu   sync.Mutex
	refs []Reference
	seen map[Reference]bool
}

func (v *imageValues) add(list []ssmtypes.Parameter) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[Reference]bool{}
	}
	for i := range list {
		for _, ref := range InText(aws.ToString(list[i].Value), "parameter "+aws.ToString(list[i].Name)) {
			if !v.seen[ref] {
				v.seen[ref] = true
				v.refs = append(v.refs, ref)
			}
		}
	}
}
