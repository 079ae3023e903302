package ec2test

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// SetParameter sets an SSM parameter of Options.Account in a region. All
// accounts can read a parameter whose name begins with "/aws/service/".
func (s *Server) SetParameter(region, name, value string) {
	s.region(region) // adds the vendors' parameters
	s.params.put(s.opts.Account, region, name, parameter{value: value, kind: "String", dataType: "text"}, s.now())
}

// Parameter returns the value of an SSM parameter of Options.Account, and
// reports whether it exists. The name may end in ":" and a version or label.
func (s *Server) Parameter(region, name string) (value string, ok bool) {
	s.region(region)
	p, ok := s.params.get(s.opts.Account, region, name)
	return p.value, ok
}

// ssmTable returns the calls of SSM's Parameter Store by name.
func ssmTable() map[string]action {
	return tableOf(
		handleJSON("GetParameter", (*call).getParameter),
		handleJSON("GetParameters", (*call).getParameters),
		handleJSON("GetParametersByPath", (*call).getParametersByPath),
		handleJSON("DescribeParameters", (*call).describeParameters),
		handleJSON("PutParameter", (*call).putParameter),
		handleJSON("LabelParameterVersion", (*call).labelParameter),
		handleJSON("DeleteParameter", (*call).deleteParameter),
	)
}

type parameterJSON struct {
	parameterMetadata
	Value    string `json:"Value"`
	Selector string `json:"Selector,omitempty"`
}

// parameterMetadata describes a parameter without its value.
type parameterMetadata struct {
	ARN      string  `json:"ARN"`
	Name     string  `json:"Name"`
	Type     string  `json:"Type"`
	Version  int64   `json:"Version"`
	Changed  float64 `json:"LastModifiedDate"`
	DataType string  `json:"DataType"`
}

// listedParameter is a parameter as DescribeParameters shows it.
type listedParameter struct {
	parameterMetadata
	Tier string `json:"Tier"`
}

func (c *call) parameterJSON(p parameter) parameterJSON {
	account := c.account
	if strings.HasPrefix(p.name, publicPrefix) {
		account = ""
	}
	return parameterJSON{Value: p.value, parameterMetadata: parameterMetadata{
		ARN:  "arn:aws:ssm:" + c.name + ":" + account + ":parameter/" + trimSlash(p.name),
		Name: p.name, Type: p.kind, Version: p.version, Changed: float64(p.changed.UnixMilli()) / 1000, DataType: p.dataType,
	}}
}

// withSelector returns a parameter with the version or label in the requested
// name.
func (c *call) withSelector(p parameter, name string) parameterJSON {
	out := c.parameterJSON(p)
	out.Selector = strings.TrimPrefix(name, p.name)
	return out
}

func (c *call) parameter(name string) (parameter, bool) {
	return c.server.params.get(c.account, c.name, name)
}

type getParameterInput struct {
	Name           string
	WithDecryption bool
}

type getParameterOutput struct{ Parameter parameterJSON }

func (c *call) getParameter(in *getParameterInput) (*getParameterOutput, *ec2query.Error) {
	p, ok := c.parameter(in.Name)
	if !ok {
		return nil, parameterNotFound(in.Name)
	}
	return &getParameterOutput{c.withSelector(p, in.Name)}, nil
}

func parameterNotFound(name string) *ec2query.Error {
	return ec2query.Errorf("ParameterNotFound", "Parameter %s not found.", name)
}

type getParametersInput struct {
	Names          []string
	WithDecryption bool
}

type getParametersOutput struct {
	Parameters        []parameterJSON
	InvalidParameters []string
}

func (c *call) getParameters(in *getParametersInput) (*getParametersOutput, *ec2query.Error) {
	if len(in.Names) < 1 || len(in.Names) > 10 {
		return nil, ec2query.Errorf("ValidationException", "names must have 1 to 10 members")
	}
	out := &getParametersOutput{[]parameterJSON{}, []string{}}
	for _, name := range in.Names {
		if p, ok := c.parameter(name); ok {
			out.Parameters = append(out.Parameters, c.withSelector(p, name))
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return out, nil
}

type putParameterInput struct {
	Name        string
	Value       string
	Type        string
	DataType    string
	Description string
	Tier        string
	Overwrite   bool
	Tags        []struct{ Key, Value string }
}

type putParameterOutput struct {
	Version int64
	Tier    string
}

func (c *call) putParameter(in *putParameterInput) (*putParameterOutput, *ec2query.Error) {
	now, exists := c.parameter(in.Name)
	switch {
	case in.Name == "" || in.Value == "":
		return nil, ec2query.Errorf("ValidationException", "Name and Value are required")
	case strings.HasPrefix(in.Name, "/aws"):
		return nil, ec2query.Errorf("AccessDeniedException", "No access to reserved parameter name: %s.", in.Name)
	case exists && !in.Overwrite:
		return nil, ec2query.Errorf("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	case exists && len(in.Tags) > 0:
		return nil, ec2query.Errorf("ValidationException", "Invalid request: tags and overwrite can't be used together.")
	case !exists && in.Type == "":
		return nil, ec2query.Errorf("ValidationException", "A parameter type is required when you create a parameter.")
	}
	if in.DataType == imageDataType {
		// AWS checks this after it has responded. A value that fails changes
		// nothing, which only an event reports.
		if img, ok := c.images.get(in.Value); !ok || !c.mayLaunch(img) {
			return &putParameterOutput{now.version + 1, "Standard"}, nil
		}
	}
	version := c.server.params.put(c.account, c.name, in.Name, parameter{
		value: in.Value, kind: cmp.Or(in.Type, "String"), dataType: cmp.Or(in.DataType, "text"),
	}, c.now)
	return &putParameterOutput{version, "Standard"}, nil
}

type labelParameterInput struct {
	Name             string
	ParameterVersion int64
	Labels           []string
}

type labelParameterOutput struct{ InvalidLabels []string }

func (c *call) labelParameter(in *labelParameterInput) (*labelParameterOutput, *ec2query.Error) {
	out := &labelParameterOutput{[]string{}}
	for _, label := range in.Labels {
		if label == "" || label[0] >= '0' && label[0] <= '9' || strings.HasPrefix(strings.ToLower(label), "aws") {
			out.InvalidLabels = append(out.InvalidLabels, label)
			continue
		}
		if !c.server.params.label(c.account, c.name, in.Name, label, in.ParameterVersion) {
			return nil, ec2query.Errorf("ParameterVersionNotFound", "Systems Manager could not find version %d of %s.", in.ParameterVersion, in.Name)
		}
	}
	return out, nil
}

type deleteParameterInput struct{ Name string }

func (c *call) deleteParameter(in *deleteParameterInput) (*ec2query.Empty, *ec2query.Error) {
	if strings.HasPrefix(in.Name, "/aws") || !c.server.params.remove(c.account, c.name, in.Name) {
		return nil, parameterNotFound(in.Name)
	}
	return &ec2query.Empty{}, nil
}

// parameterFilter is a filter of the calls that list parameters.
type parameterFilter struct {
	Key    string
	Option string
	Values []string
}

// match reports whether a parameter passes the filter. Unknown keys and options
// are errors.
func (f parameterFilter) match(p parameter) (bool, *ec2query.Error) {
	var have string
	switch f.Key {
	case "Name":
		have = p.name
	case "Type":
		have = p.kind
	case "DataType":
		have = p.dataType
	case "Path":
		recursive := f.Option == "Recursive"
		return slices.ContainsFunc(f.Values, func(path string) bool { return inPath(p.name, path, recursive) }), nil
	default:
		return false, ec2query.Errorf("InvalidFilterKey", "The specified filter key isn't valid: %s", f.Key)
	}
	switch cmp.Or(f.Option, "Equals") {
	case "Equals":
		return slices.Contains(f.Values, have), nil
	case "BeginsWith":
		return slices.ContainsFunc(f.Values, func(v string) bool { return strings.HasPrefix(have, v) }), nil
	case "Contains":
		return slices.ContainsFunc(f.Values, func(v string) bool { return strings.Contains(have, v) }), nil
	}
	return false, ec2query.Errorf("InvalidFilterOption", "The specified filter option isn't valid: %s", f.Option)
}

// inPath reports whether a name is in the hierarchy path.
func inPath(name, path string, recursive bool) bool {
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(path, "/")+"/")
	return ok && (recursive || !strings.Contains(rest, "/"))
}

// listParameters returns a page of the caller's parameters that pass all
// filters.
func (c *call) listParameters(list []parameterFilter, most *int, token string, limit int) ([]parameter, string, *ec2query.Error) {
	var found []parameter
	for _, p := range c.server.params.list(c.account, c.name) {
		keep := true
		for _, f := range list {
			ok, err := f.match(p)
			if err != nil {
				return nil, "", err
			}
			keep = keep && ok
		}
		if keep {
			found = append(found, p)
		}
	}
	if most == nil {
		most = &limit
	}
	keys := make(map[string]uint64, len(found))
	for _, p := range found {
		keys[p.name] = uint64(len(keys)) + 1
	}
	items, next, err := page(c, found, pageParams{most, token}, pageLimits{1, limit}, func(p parameter) uint64 { return keys[p.name] })
	if err != nil {
		return nil, "", ec2query.Errorf("ValidationException", "%s", err.Message)
	}
	return items, next, nil
}

type describeParametersInput struct {
	ParameterFilters []parameterFilter
	MaxResults       *int
	NextToken        string
}

type listParametersOutput struct {
	Parameters []parameterJSON
	NextToken  string `json:",omitempty"`
}

type describeParametersOutput struct {
	Parameters []listedParameter
	NextToken  string `json:",omitempty"`
}

func (c *call) describeParameters(in *describeParametersInput) (*describeParametersOutput, *ec2query.Error) {
	const limit = 50
	items, next, err := c.listParameters(in.ParameterFilters, in.MaxResults, in.NextToken, limit)
	if err != nil {
		return nil, err
	}
	out := &describeParametersOutput{[]listedParameter{}, next}
	for _, p := range items {
		out.Parameters = append(out.Parameters, listedParameter{c.parameterJSON(p).parameterMetadata, "Standard"})
	}
	return out, nil
}

type getParametersByPathInput struct {
	Path             string
	Recursive        bool
	ParameterFilters []parameterFilter
	WithDecryption   bool
	MaxResults       *int
	NextToken        string
}

func (c *call) getParametersByPath(in *getParametersByPathInput) (*listParametersOutput, *ec2query.Error) {
	const limit = 10
	if !strings.HasPrefix(in.Path, "/") {
		return nil, ec2query.Errorf("ValidationException", "The parameter doesn't meet the parameter name requirements: %q", in.Path)
	}
	option := "OneLevel"
	if in.Recursive {
		option = "Recursive"
	}
	path := parameterFilter{Key: "Path", Option: option, Values: []string{in.Path}}
	items, next, err := c.listParameters(append([]parameterFilter{path}, in.ParameterFilters...), in.MaxResults, in.NextToken, limit)
	if err != nil {
		return nil, err
	}
	out := &listParametersOutput{[]parameterJSON{}, next}
	for _, p := range items {
		out.Parameters = append(out.Parameters, c.parameterJSON(p))
	}
	return out, nil
}
