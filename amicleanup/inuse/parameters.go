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
// the parameters of the data type aws:ec2:image, and those with the given names or
// below them: "/ci" and "/ci/" mean the parameter /ci and all below it, "/" all. Secure
// strings are left to [SecureParameters]. Only current values count, and only
// parameters of the account itself; older versions that a launch template names
// are found by [LaunchTemplates].
func Parameters(paths ...string) Source {
	if slices.Contains(paths, "/") {
		paths = nil
	}
	p := parameters{paths: paths}
	s := Source{Name: "parameters", List: p.list, Permissions: Reads("ssm:DescribeParameters", "ssm:GetParameters")}
	if len(paths) > 0 {
		s.Name += " and " + strings.Join(paths, ", ")
		s.Permissions = Reads("ssm:DescribeParameters", "ssm:GetParameters", "ssm:GetParametersByPath")
	}
	return s
}

// SecureParameters returns the source of the images that parameters with the
// given names or below them name, including secure strings, which it decrypts.
// Values are only searched for image ids. Without paths, the source reads all
// parameters of the region.
//
// Its permissions suffice for the key aws/ssm. Other keys also need kms:Decrypt.
func SecureParameters(paths ...string) Source {
	if slices.Contains(paths, "/") {
		paths = nil
	}
	p := parameters{paths: paths, secure: true}
	s := Source{Name: "secure parameters", List: p.list, Permissions: Reads("ssm:DescribeParameters", "ssm:GetParameters")}
	if len(paths) > 0 {
		s.Name += " below " + strings.Join(paths, ", ")
		s.Permissions = Reads("ssm:GetParameters", "ssm:GetParametersByPath")
	}
	return s
}

type parameters struct {
	paths  []string
	secure bool // decrypts, and of paths reads nothing else
}

// Page sizes of the Parameter Store.
const (
	parametersPerPage     = 50
	parametersPerPathPage = 10
)

func (p parameters) list(ctx context.Context, at Place) ([]Reference, error) {
	client := ssm.NewFromConfig(at.Config)
	var names []string
	if !p.secure || len(p.paths) == 0 {
		var err error
		if names, err = p.names(ctx, client); err != nil {
			return nil, err
		}
	}
	for _, path := range p.paths { // which may be a parameter itself
		if name := strings.TrimRight(path, "/"); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	found := &imageValues{secure: p.secure}
	err := forEach(slices.Collect(slices.Chunk(names, parametersPerCall)), func(some []string) error {
		out, err := client.GetParameters(ctx, &ssm.GetParametersInput{Names: some, WithDecryption: aws.Bool(p.secure)})
		if err == nil {
			found.add(out.Parameters) // InvalidParameters do not exist, or no longer
		}
		return err
	})
	if err != nil {
		return found.refs, err
	}
	err = forEach(p.paths, func(path string) error {
		if !strings.HasPrefix(path, "/") {
			return nil // the name of a parameter, below which there is nothing
		}
		below := ssm.NewGetParametersByPathPaginator(client, &ssm.GetParametersByPathInput{
			Path: aws.String(path), Recursive: aws.Bool(true), WithDecryption: aws.Bool(p.secure), MaxResults: aws.Int32(parametersPerPathPage),
		}, func(o *ssm.GetParametersByPathPaginatorOptions) { o.StopOnDuplicateToken = true })
		return awsapi.EachPage(ctx, below, func(page *ssm.GetParametersByPathOutput) *string {
			found.add(page.Parameters)
			return page.NextToken
		})
	})
	return found.refs, err
}

// names returns the parameters to read one by one: all of them, or those of the
// image data type if there are paths.
func (p parameters) names(ctx context.Context, client *ssm.Client) ([]string, error) {
	filter := ssmtypes.ParameterStringFilter{Key: aws.String("DataType"), Values: []string{"aws:ec2:image"}}
	if len(p.paths) == 0 {
		filter = ssmtypes.ParameterStringFilter{Key: aws.String("Type"), Values: []string{
			string(ssmtypes.ParameterTypeString), string(ssmtypes.ParameterTypeStringList),
		}}
		if p.secure {
			filter.Values = append(filter.Values, string(ssmtypes.ParameterTypeSecureString))
		}
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
	secure bool // also of secure strings
	mu     sync.Mutex
	refs   []Reference
	seen   map[Reference]bool
}

func (v *imageValues) add(list []ssmtypes.Parameter) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[Reference]bool{}
	}
	for i := range list {
		if list[i].Type == ssmtypes.ParameterTypeSecureString && !v.secure {
			continue
		}
		for _, ref := range InText(aws.ToString(list[i].Value), "parameter "+aws.ToString(list[i].Name)) {
			if !v.seen[ref] {
				v.seen[ref] = true
				v.refs = append(v.refs, ref)
			}
		}
	}
}
