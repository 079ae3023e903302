package ec2test

import (
	"slices"
	"strings"
)

// ActionCoverage is what the server knows of one call. Anything else in such a
// call is refused: an unknown parameter with UnknownParameter, an unknown
// filter or value with InvalidParameterValue.
type ActionCoverage struct {
	Service string   // "ec2", "ssm" or "sts"
	Name    string   // of the call
	Params  []string // with N for the number of a list's element; DryRun is known everywhere
	Filters []string // that the call knows, sorted
}

// Coverage is every call that a server answers, by service and name. The file
// COVERAGE.md of this package shows it.
func Coverage() []ActionCoverage {
	s := &Server{known: newCatalogue()}
	table := s.actionTable()
	out := make([]ActionCoverage, 0, len(table)+4)
	out = append(out,
		ActionCoverage{Service: "ssm", Name: "GetParameter", Params: []string{"Name", "WithDecryption"}},
		ActionCoverage{Service: "ssm", Name: "GetParameters", Params: []string{"Names", "WithDecryption"}},
		ActionCoverage{Service: "ssm", Name: "PutParameter", Params: []string{"Name", "Value", "Type", "DataType", "Description", "Tier", "Overwrite", "Tags"}},
		ActionCoverage{Service: "sts", Name: "GetCallerIdentity"},
	)
	for _, a := range table {
		params := slices.DeleteFunc(paramNames(a.input, ""), func(name string) bool { return strings.HasPrefix(name, "Filter.N.") })
		slices.Sort(params)
		out = append(out, ActionCoverage{Service: "ec2", Name: a.name, Params: params, Filters: a.filters})
	}
	slices.SortFunc(out, func(a, b ActionCoverage) int {
		return strings.Compare(a.Service+" "+a.Name, b.Service+" "+b.Name)
	})
	return out
}
