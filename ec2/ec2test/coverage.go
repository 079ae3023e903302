package ec2test

import (
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// ActionCoverage is what the server knows of one call. Anything else in such a
// call is refused: an unknown parameter with UnknownParameter, an unknown
// filter or value with InvalidParameterValue.
type ActionCoverage struct {
	Service string   // "ec2", "autoscaling", "iam", "kms", "ssm", "rbin" or "sts"
	Name    string   // of the call
	Params  []string // with N for the number of a list's element; DryRun is known everywhere
	Results []string // the values that can be in its answer, as they are written: "imagesSet.item.imageId"
	Filters []string // that the call knows, sorted
}

// Coverage is every call that a server answers, by service and name. The file
// COVERAGE.md of this package shows it.
func Coverage() []ActionCoverage {
	s := &Server{known: newCatalogue()}
	out := []ActionCoverage{
		{Service: "sts", Name: "AssumeRole", Params: []string{"DurationSeconds", "ExternalId", "RoleArn", "RoleSessionName"}},
		{Service: "sts", Name: "DecodeAuthorizationMessage", Params: []string{"EncodedMessage"}},
		{Service: "sts", Name: "GetCallerIdentity"},
	}
	for service, table := range map[string]map[string]action{"ec2": s.actionTable(), "autoscaling": scalingTable(), "iam": iamTable()} {
		for _, a := range table {
			params := slices.DeleteFunc(ec2query.ParamNames(a.input), func(name string) bool { return strings.HasPrefix(name, "Filter.N.") })
			slices.Sort(params)
			out = append(out, ActionCoverage{Service: service, Name: a.name, Params: params, Results: ec2query.ResultNames(a.output), Filters: a.filters})
		}
	}
	for service, table := range map[string]map[string]jsonAction{"ssm": ssmTable(), "kms": kmsTable(), "rbin": rbinTable()} {
		for _, a := range table {
			out = append(out, ActionCoverage{Service: service, Name: a.name, Params: jsonNames(a.input, ""), Results: jsonNames(a.output, "")})
		}
	}
	slices.SortFunc(out, func(a, b ActionCoverage) int {
		return strings.Compare(a.Service+" "+a.Name, b.Service+" "+b.Name)
	})
	return out
}
