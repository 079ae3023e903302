// Package iampolicy builds IAM policy documents.
//
// [New] joins statements, which [Allow] creates, into a [Document] that marshals to
// JSON. Packages ec2 and amicleanup return Documents with the permissions they need;
// [Document.With] combines them, and [Document.String] returns the JSON to attach to
// a role:
//
//	policy := ec2.Policy(cloud, images...).With(cleaner.IAMPolicy(nil))
//	fmt.Println(policy)
package iampolicy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Document is an IAM policy. It marshals to IAM's JSON format.
type Document struct {
	Version   string
	Statement []Statement
}

// A Statement allows actions on resources.
type Statement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition Condition `json:",omitempty"`
}

// A Condition restricts a Statement. It maps condition operators to condition keys to
// values.
type Condition map[string]map[string][]string

// Allow returns a statement that allows actions on resources.
func Allow(sid string, actions, resources []string, condition Condition) Statement {
	return Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources, Condition: condition}
}

// New returns a policy of the statements. It merges statements that have the same Sid,
// ignoring trailing digits, and differ only in their actions or only in their
// resources. If other statements share a Sid, it adds a number to all but the first.
func New(statements ...Statement) *Document {
	all := joined(statements, func(x, y Statement) bool { return slices.Equal(x.Resource, y.Resource) })
	all = joined(all, func(x, y Statement) bool { return slices.Equal(x.Action, y.Action) })
	d := &Document{Version: "2012-10-17", Statement: []Statement{}}
	taken := map[string]bool{}
	for _, s := range all {
		for n := 2; taken[s.Sid]; n++ {
			s.Sid = base(s.Sid) + fmt.Sprint(n)
		}
		taken[s.Sid] = true
		d.Statement = append(d.Statement, s)
	}
	return d
}

// joined merges statements that mergeable reports to differ in one respect only.
func joined(all []Statement, mergeable func(x, y Statement) bool) []Statement {
	var out []Statement
	for _, s := range all {
		s.Action, s.Resource = sorted(s.Action), sorted(s.Resource)
		i := slices.IndexFunc(out, func(have Statement) bool {
			return base(have.Sid) == base(s.Sid) && have.Effect == s.Effect && mergeable(have, s) &&
				fmt.Sprint(have.Condition) == fmt.Sprint(s.Condition) // maps are printed sorted
		})
		if i < 0 {
			out = append(out, s)
			continue
		}
		out[i].Action = sorted(append(out[i].Action, s.Action...))
		out[i].Resource = sorted(append(out[i].Resource, s.Resource...))
	}
	return out
}

// base returns a Sid without trailing digits.
func base(sid string) string { return strings.TrimRight(sid, "0123456789") }

// sorted returns a sorted copy of list without duplicates.
func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// With returns a policy that allows what d and the others allow. Nil Documents are
// ignored.
func (d *Document) With(others ...*Document) *Document {
	var all []Statement
	for _, one := range append([]*Document{d}, others...) {
		if one != nil {
			all = append(all, one.Statement...)
		}
	}
	return New(all...)
}

// Actions returns all actions in the policy, sorted.
func (d *Document) Actions() []string {
	var all []string
	for _, s := range d.Statement {
		all = append(all, s.Action...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// String returns the policy as indented JSON.
func (d *Document) String() string {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err.Error() // strings always marshal
	}
	return string(text)
}
