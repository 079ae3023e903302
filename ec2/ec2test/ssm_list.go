package ec2test

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// parameterDetails describes a version of a parameter in lists.
type parameterDetails struct {
	Name        string  `json:"Name"`
	Type        string  `json:"Type"`
	KeyID       string  `json:"KeyId,omitempty"`
	Changed     float64 `json:"LastModifiedDate"`
	User        string  `json:"LastModifiedUser"`
	Description string  `json:"Description,omitempty"`
	Pattern     string  `json:"AllowedPattern,omitempty"`
	Version     int64   `json:"Version"`
	Tier        string  `json:"Tier"`
	DataType    string  `json:"DataType"`
}

func (c *call) details(p parameter) parameterDetails {
	m := c.metadata(p)
	return parameterDetails{
		Name: p.name, Type: p.kind, KeyID: p.keyID, Changed: m.Changed, User: "arn:aws:iam::" + c.account + ":root",
		Description: p.description, Pattern: p.pattern, Version: p.version, Tier: p.tier, DataType: p.dataType,
	}
}

// listedParameter is a parameter as DescribeParameters shows it.
type listedParameter struct {
	ARN string `json:"ARN"`
	parameterDetails
}

// parameterFilter is a filter of the calls that list parameters.
type parameterFilter struct {
	Key    string
	Option string
	Values []string
}

// filterRule says how a call accepts a filter.
type filterRule struct {
	options []string // the first is the default
	values  []string // if not nil, the only values
}

func listRules() map[string]filterRule {
	return map[string]filterRule{
		"Path":     {options: []string{"OneLevel", "Recursive"}},
		"Name":     {options: []string{"Equals", "BeginsWith", "Contains"}},
		"Type":     {options: []string{"Equals", "BeginsWith"}, values: parameterTypes()},
		"KeyId":    {options: []string{"Equals", "BeginsWith"}},
		"Tier":     {options: []string{"Equals"}, values: parameterTiers()},
		"DataType": {options: []string{"Equals"}},
	}
}

func pathRules() map[string]filterRule {
	all := listRules()
	return map[string]filterRule{"Type": all["Type"], "KeyId": all["KeyId"], "Label": {options: []string{"Equals"}}}
}

// filterKey matches the keys of filters.
var filterKey = regexp.MustCompile(`^(tag:.+|Name|Type|KeyId|Path|Label|Tier|DataType)$`)

// checkFilters validates filters by rules, and sets their default options.
func checkFilters(list []parameterFilter, rules map[string]filterRule) *ec2query.Error {
	for i := range list {
		if key := list[i].Key; !filterKey.MatchString(key) {
			return constraint(key, "parameterFilters."+strconv.Itoa(i+1)+".member.key", "satisfy regular expression pattern: tag:.+|Name|Type|KeyId|Path|Label|Tier|DataType")
		}
	}
	for i := range list {
		f := &list[i]
		rule, ok := rules[f.Key]
		if strings.HasPrefix(f.Key, "tag:") && rules["Name"].options != nil {
			rule, ok = filterRule{options: []string{"Equals", "BeginsWith", "Contains"}}, true
		}
		f.Option = cmp.Or(f.Option, slices.Concat(rule.options, []string{""})[0])
		switch {
		case !ok:
			return ec2query.Errorf("InvalidFilterKey", "The following filter key is not valid: %s. Valid filter keys include: [%s].", f.Key, strings.Join(keysOf(rules), ", "))
		case slices.ContainsFunc(list[:i], func(other parameterFilter) bool { return other.Key == f.Key }):
			return ec2query.Errorf("InvalidFilterKey", "The following filter is duplicated in the request: %s. A request can contain only one occurrence of a specific filter.", f.Key)
		case !slices.Contains(rule.options, f.Option):
			return ec2query.Errorf("InvalidFilterOption", "The following filter option is not valid: %s. Valid options include: [%s].", f.Option, strings.Join(rule.options, ", "))
		case len(f.Values) == 0 && !strings.HasPrefix(f.Key, "tag:"):
			return ec2query.Errorf("InvalidFilterValue", "The following filter values are missing : null for filter key %s.", f.Key)
		}
		for _, v := range f.Values {
			if rule.values != nil && !slices.Contains(rule.values, v) {
				return ec2query.Errorf("InvalidFilterOption", "The following filter value is not valid: %s. Valid values include: [%s].", v, strings.Join(rule.values, ", "))
			}
			lower := strings.ToLower(v)
			if f.Key == "Path" && (strings.HasPrefix(lower, "/aws") || strings.HasPrefix(lower, "/ssm")) {
				return invalidParameter(`Filters for common parameters can't be prefixed with "aws" or "ssm" (case-insensitive). ` +
					"When using global parameters, please specify within a global namespace.")
			}
			if f.Key == "Path" {
				if err := checkPath(v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func keysOf(rules map[string]filterRule) []string {
	var out []string
	for _, key := range []string{"Path", "Name", "Type", "KeyId", "Tier", "DataType", "Label"} {
		if _, ok := rules[key]; ok {
			out = append(out, key)
		}
	}
	return out
}

var wholePath = regexp.MustCompile(`^/$|^(/[a-zA-Z0-9_.-]+)+/?$`)

// checkPath rejects a malformed path.
func checkPath(path string) *ec2query.Error {
	if !wholePath.MatchString(path) {
		return invalidParameter(`The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash "/". ` +
			`It can't be prefixed with "aws" or "ssm" (case-insensitive). It must use only letters, numbers, or the following symbols: . (period), - (hyphen), _ (underscore). ` +
			`Special characters are not allowed. All sub-paths, if specified, must use the forward slash symbol "/". Valid example: /get/parameters2-/by1./path0_.`)
	}
	return nil
}

// isPublicPath reports whether a path holds only AWS's public parameters.
func isPublicPath(path string) bool { return strings.HasPrefix(path+"/", publicPrefix) }

// match reports whether a parameter passes the filter.
func (f parameterFilter) match(e parameterEntry, p parameter) bool {
	var have []string
	switch f.Key {
	case "Path":
		return slices.ContainsFunc(f.Values, func(path string) bool { return inPath(p.name, path, f.Option == "Recursive") })
	case "Name":
		// A name of one level is the same without a slash.
		have = []string{p.name, trimSlash(p.name), "/" + trimSlash(p.name)}
		if strings.Count(trimSlash(p.name), "/") > 0 {
			have = have[:1]
		}
	case "Type":
		have = one(p.kind)
	case "KeyId":
		have = one(p.keyID)
	case "Tier":
		have = one(p.tier)
	case "DataType":
		have = one(p.dataType)
	case "Label":
		have = p.labels
	default:
		v, ok := e.tags[strings.TrimPrefix(f.Key, "tag:")]
		if len(f.Values) == 0 || !ok {
			return ok
		}
		have = []string{v.value}
	}
	test := map[string]func(have, want string) bool{
		"Equals": func(have, want string) bool { return have == want }, "BeginsWith": strings.HasPrefix, "Contains": strings.Contains,
	}[f.Option]
	return slices.ContainsFunc(f.Values, func(want string) bool {
		return slices.ContainsFunc(have, func(value string) bool { return test(value, want) })
	})
}

// inPath reports whether a name is in the hierarchy path.
func inPath(name, path string, recursive bool) bool {
	rest, ok := strings.CutPrefix("/"+trimSlash(name), strings.TrimSuffix(path, "/")+"/")
	return ok && (recursive || !strings.Contains(rest, "/"))
}

// listParameters returns the parameters of an owner that pass all filters, in
// the version with a label that a filter wants, or the latest.
func (c *call) listParameters(owner string, list []parameterFilter) []parameter {
	var found []parameter
	for _, e := range c.server.params.list(owner, c.name) {
		versions := []parameter{e.latest()}
		if slices.ContainsFunc(list, func(f parameterFilter) bool { return f.Key == "Label" }) {
			versions = e.versions
		}
		for _, p := range versions {
			if !slices.ContainsFunc(list, func(f parameterFilter) bool { return !f.match(e, p) }) {
				found = append(found, p)
			}
		}
	}
	return found
}

// parameterPage returns a page of a list.
func parameterPage(c *call, list []parameter, most *int, token string, limit int, key func(parameter) uint64) ([]parameter, string, *ec2query.Error) {
	if most == nil {
		most = &limit
	}
	if key == nil {
		id := func(p parameter) string { return p.name + ":" + strconv.FormatInt(p.version, 10) }
		keys := make(map[string]uint64, len(list))
		for _, p := range list {
			keys[id(p)] = uint64(len(keys)) + 1
		}
		key = func(p parameter) uint64 { return keys[id(p)] }
	}
	items, next, err := page(c, list, pageParams{most, token}, pageLimits{1, limit}, key)
	switch {
	case err != nil && token != "":
		err = ec2query.Errorf("InvalidNextToken", "The specified token is not valid.")
	case err != nil:
		err = constraint(intText(most), "maxResults", "have value between 1 and "+intText(&limit))
	}
	return items, next, err
}

type describeParametersInput struct {
	Filters []struct {
		Key    string
		Values []string
	}
	ParameterFilters []parameterFilter
	MaxResults       *int
	NextToken        string
	Shared           bool
}

type describeParametersOutput struct {
	Parameters []listedParameter
	NextToken  string `json:",omitempty"`
}

func (c *call) describeParameters(in *describeParametersInput) (*describeParametersOutput, *ec2query.Error) {
	list := in.ParameterFilters
	switch {
	case len(in.Filters) > 0 && len(list) > 0:
		return nil, invalidParameter("You can use either Filters or ParameterFilters in a single request.")
	case in.Shared:
		return nil, invalidParameter("Shared is not supported by ec2test, which has no shared parameters")
	}
	for _, f := range in.Filters { // the earlier form
		option := "Equals"
		if f.Key == "Name" {
			option = "BeginsWith"
		}
		list = append(list, parameterFilter{f.Key, option, f.Values})
	}
	if err := checkFilters(list, listRules()); err != nil {
		return nil, err
	}
	items, next, err := parameterPage(c, c.listParameters(c.account, list), in.MaxResults, in.NextToken, 50, nil)
	if err != nil {
		return nil, err
	}
	out := &describeParametersOutput{[]listedParameter{}, next}
	for _, p := range items {
		out.Parameters = append(out.Parameters, listedParameter{c.metadata(p).ARN, c.details(p)})
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

type listParametersOutput struct {
	Parameters []parameterJSON
	NextToken  string `json:",omitempty"`
}

func (c *call) getParametersByPath(in *getParametersByPathInput) (*listParametersOutput, *ec2query.Error) {
	if err := checkPath(in.Path); err != nil {
		return nil, err
	}
	if err := checkFilters(in.ParameterFilters, pathRules()); err != nil {
		return nil, err
	}
	path, owner := parameterFilter{"Path", "OneLevel", []string{in.Path}}, c.account
	if in.Recursive {
		path.Option = "Recursive"
	}
	if isPublicPath(in.Path) {
		owner = publicOwner
	}
	found := c.listParameters(owner, append([]parameterFilter{path}, in.ParameterFilters...))
	items, next, err := parameterPage(c, found, in.MaxResults, in.NextToken, 10, nil)
	if err != nil {
		return nil, err
	}
	out := &listParametersOutput{[]parameterJSON{}, next}
	for _, p := range items {
		out.Parameters = append(out.Parameters, c.parameterJSON(p, "", in.WithDecryption))
	}
	return out, nil
}
