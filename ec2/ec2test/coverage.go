package ec2test

import (
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// ActionCoverage describes the supported parts of an API call. Other parameters
// are rejected with UnknownParameter, other filters and values with
// InvalidParameterValue.
type ActionCoverage struct {
	Service string   // "ec2", "autoscaling", "ebs", "iam", "kms", "ssm", "rbin" or "sts"
	Name    string   // of the call: "DescribeImages"
	Params  []string // parameters, sorted; N is a list's index: "Owner.N". All EC2 calls also accept DryRun.
	Results []string // paths of the values a response can have: "imagesSet.item.imageId"
	Filters []string // filters, sorted
}

// Coverage returns the API calls that a server supports, by service and name.
// The page docs/ec2test-coverage.md lists them.
func Coverage() []ActionCoverage {
	known := newCatalog()
	out := []ActionCoverage{
		{Service: "sts", Name: "AssumeRole", Params: []string{"DurationSeconds", "ExternalId", "RoleArn", "RoleSessionName"}},
		{Service: "sts", Name: "DecodeAuthorizationMessage", Params: []string{"EncodedMessage"}},
		{Service: "sts", Name: "GetCallerIdentity"},
	}
	for service, table := range actionTables(&known) {
		for _, a := range table {
			params, results := ec2query.ParamNames(a.input), ec2query.ResultNames(a.output)
			if a.json {
				params, results = jsonNames(a.input, ""), jsonNames(a.output, "")
			}
			if a.ebs {
				results = jsonNames(a.output, "")
			}
			params = slices.DeleteFunc(params, func(name string) bool { return strings.HasPrefix(name, "Filter.N.") })
			slices.Sort(params)
			out = append(out, ActionCoverage{Service: service, Name: a.name, Params: params, Results: results, Filters: a.filters})
		}
	}
	slices.SortFunc(out, func(a, b ActionCoverage) int {
		return strings.Compare(a.Service+" "+a.Name, b.Service+" "+b.Name)
	})
	return out
}
