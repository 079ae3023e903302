package ec2test

import (
	"encoding/base64"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// SetParameter sets an SSM parameter of Options.Account in a region. All
// accounts can read a parameter whose name begins with "/aws/service/".
func (s *Server) SetParameter(region, name, value string) {
	s.region(region) // adds the vendors' parameters
	for {
		_, err := s.params.put(s.opts.Account, region, parameter{name: name, value: value, kind: "String"}, nil, s.now())
		if err == nil {
			return
		}
		// The oldest of too many versions has a label.
		s.params.entry(s.opts.Account, region, name, func(e *parameterEntry) { e.versions[0].labels = nil })
	}
}

// Parameter returns the value of an SSM parameter of Options.Account, and
// reports whether it exists. The name may end in ":" and a version or label.
func (s *Server) Parameter(region, name string) (value string, ok bool) {
	s.region(region)
	p, ok := s.params.get(s.opts.Account, region, name)
	return p.value, ok
}

// ssmTable returns the calls of SSM's Parameter Store and Run Command by name.
func ssmTable() map[string]action {
	return tableOf(
		handleJSON("GetParameter", (*call).getParameter),
		handleJSON("GetParameters", (*call).getParameters),
		handleJSON("GetParametersByPath", (*call).getParametersByPath),
		handleJSON("GetParameterHistory", (*call).getParameterHistory),
		handleJSON("DescribeParameters", (*call).describeParameters),
		handleJSON("PutParameter", (*call).putParameter),
		handleJSON("LabelParameterVersion", (*call).labelParameter),
		handleJSON("UnlabelParameterVersion", (*call).unlabelParameter),
		handleJSON("DeleteParameter", (*call).deleteParameter),
		handleJSON("DeleteParameters", (*call).deleteParameters),
		handleJSON("ListTagsForResource", (*call).listParameterTags),
		handleJSON("AddTagsToResource", (*call).addParameterTags),
		handleJSON("RemoveTagsFromResource", (*call).removeParameterTags),
		handleJSON("SendCommand", (*call).sendCommand),
		handleJSON("GetCommandInvocation", (*call).getCommand),
	)
}

func invalidParameter(format string, args ...any) *ec2query.Error {
	return ec2query.Errorf("ValidationException", format, args...)
}

// constraint returns the error of a member that does not suit SSM's model.
func constraint(value, member, requires string) *ec2query.Error {
	return invalidParameter("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s", value, member, requires)
}

func parameterNotFound(name string) *ec2query.Error {
	return ec2query.Errorf("ParameterNotFound", "Parameter %s not found.", name)
}

// parameterMetadata describes a version of a parameter without its value.
type parameterMetadata struct {
	ARN      string  `json:"ARN"`
	Name     string  `json:"Name"`
	Type     string  `json:"Type"`
	Version  int64   `json:"Version"`
	Changed  float64 `json:"LastModifiedDate"`
	DataType string  `json:"DataType"`
}

type parameterJSON struct {
	parameterMetadata
	Value    string `json:"Value"`
	Selector string `json:"Selector,omitempty"`
}

func (c *call) metadata(p parameter) parameterMetadata {
	account := c.account
	if strings.HasPrefix(p.name, publicPrefix) {
		account = ""
	}
	return parameterMetadata{
		ARN:  "arn:aws:ssm:" + c.name + ":" + account + ":parameter/" + trimSlash(p.name),
		Name: p.name, Type: p.kind, Version: p.version, Changed: float64(p.changed.UnixMilli()) / 1000, DataType: p.dataType,
	}
}

// shown returns the parameter's value, which is unreadable if it is secret and
// not to be decrypted.
func (p parameter) shown(decrypt bool) string {
	if p.kind != secureString || decrypt {
		return p.value
	}
	return "AQICAHh" + base64.StdEncoding.EncodeToString([]byte(namedID(p.keyID, p.name, p.value)))
}

func (c *call) parameterJSON(p parameter, selector string, decrypt bool) parameterJSON {
	return parameterJSON{c.metadata(p), p.shown(decrypt), selector}
}

// parameterName returns the name and the selector in the name or ARN of a
// request. It returns an error for the ARN of a parameter of another account or
// region.
func (c *call) parameterName(text string) (name, selector string, _ *ec2query.Error) {
	if rest, isARN := strings.CutPrefix(text, "arn:"); isARN {
		parts := strings.SplitN(rest, ":", 5)
		if len(parts) < 5 || parts[1] != "ssm" || !strings.HasPrefix(parts[4], "parameter/") {
			return "", "", invalidParameter("Invalid parameter ARN: %s", text)
		}
		text = strings.TrimPrefix(parts[4], "parameter")
		if public := strings.HasPrefix(text, publicPrefix); parts[2] != c.name || parts[3] != c.account && (parts[3] != "" || !public) {
			return "", "", parameterNotFound(rest)
		}
	}
	name, version, selected := strings.Cut(text, ":")
	if selected {
		selector = ":" + version
	}
	return name, selector, nil
}

// parameter returns the parameter with a name or ARN, which may end in a
// selector.
func (c *call) parameter(text string) (p parameter, selector string, _ *ec2query.Error) {
	name, selector, err := c.parameterName(text)
	if err != nil {
		return p, "", err
	}
	found := false
	if !c.server.params.entry(c.account, c.name, name, func(e *parameterEntry) { p, found = e.find(strings.TrimPrefix(selector, ":")) }) {
		return p, "", parameterNotFound(text)
	}
	if !found {
		return p, "", ec2query.Errorf("ParameterVersionNotFound", "Systems Manager could not find version %s of %s. Verify the version and try again.", selector[1:], name)
	}
	return p, selector, nil
}

type getParameterInput struct {
	Name           string
	WithDecryption bool
}

type getParameterOutput struct{ Parameter parameterJSON }

func (c *call) getParameter(in *getParameterInput) (*getParameterOutput, *ec2query.Error) {
	p, selector, err := c.parameter(in.Name)
	if err != nil {
		return nil, err
	}
	return &getParameterOutput{c.parameterJSON(p, selector, in.WithDecryption)}, nil
}

type getParametersInput struct {
	Names          []string
	WithDecryption bool
}

type getParametersOutput struct {
	Parameters        []parameterJSON
	InvalidParameters []string
}

// checkNames checks the number of names of a call.
func checkNames(names []string) *ec2query.Error {
	switch {
	case len(names) < 1:
		return constraint("[]", "names", "have length greater than or equal to 1")
	case len(names) > 10:
		return constraint("["+strings.Join(names, ", ")+"]", "names", "have length less than or equal to 10")
	}
	return nil
}

func (c *call) getParameters(in *getParametersInput) (*getParametersOutput, *ec2query.Error) {
	if err := checkNames(in.Names); err != nil {
		return nil, err
	}
	out := &getParametersOutput{[]parameterJSON{}, []string{}}
	for _, name := range in.Names {
		p, selector, err := c.parameter(name)
		if err != nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		out.Parameters = append(out.Parameters, c.parameterJSON(p, selector, in.WithDecryption))
	}
	return out, nil
}

type getParameterHistoryInput struct {
	Name           string
	WithDecryption bool
	MaxResults     *int
	NextToken      string
}

// pastParameter is a version of a parameter as GetParameterHistory shows it.
type pastParameter struct {
	parameterDetails
	Value  string   `json:"Value"`
	Labels []string `json:"Labels"`
}

type getParameterHistoryOutput struct {
	Parameters []pastParameter
	NextToken  string `json:",omitempty"`
}

func (c *call) getParameterHistory(in *getParameterHistoryInput) (*getParameterHistoryOutput, *ec2query.Error) {
	name, _, err := c.parameterName(in.Name)
	if err != nil {
		return nil, err
	}
	var versions []parameter
	if !c.server.params.entry(c.account, c.name, name, func(e *parameterEntry) { versions = append(versions, e.versions...) }) {
		return nil, parameterNotFound(in.Name)
	}
	items, next, err := parameterPage(c, versions, in.MaxResults, in.NextToken, 50, func(p parameter) uint64 { return uint64(p.version) }) //nolint:gosec // versions are positive
	if err != nil {
		return nil, err
	}
	out := &getParameterHistoryOutput{[]pastParameter{}, next}
	for _, p := range items {
		out.Parameters = append(out.Parameters, pastParameter{c.details(p), p.shown(in.WithDecryption), append([]string{}, p.labels...)})
	}
	return out, nil
}

type deleteParameterInput struct{ Name string }

// removeParameter deletes one of the caller's parameters and reports whether it
// existed.
func (c *call) removeParameter(name string) bool {
	return !strings.HasPrefix(name, publicPrefix) && c.server.params.remove(c.account, c.name, name)
}

func (c *call) deleteParameter(in *deleteParameterInput) (*ec2query.Empty, *ec2query.Error) {
	if !c.removeParameter(in.Name) {
		return nil, parameterNotFound(in.Name)
	}
	return &ec2query.Empty{}, nil
}

type deleteParametersInput struct{ Names []string }

type deleteParametersOutput struct {
	DeletedParameters []string
	InvalidParameters []string
}

func (c *call) deleteParameters(in *deleteParametersInput) (*deleteParametersOutput, *ec2query.Error) {
	if err := checkNames(in.Names); err != nil {
		return nil, err
	}
	out := &deleteParametersOutput{[]string{}, []string{}}
	for _, name := range in.Names {
		if c.removeParameter(name) {
			out.DeletedParameters = append(out.DeletedParameters, name)
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return out, nil
}
