// Package iampolicy puts IAM policies together from single permissions.
package iampolicy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Document is an IAM policy. It marshals to the JSON that IAM takes.
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

// A Condition is what must hold besides, by operator and key.
type Condition map[string]map[string][]string

// Allow is the statement that allows actions on resources.
func Allow(sid string, actions, resources []string, condition Condition) Statement {
	return Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources, Condition: condition}
}

// New is the policy of these statements. Those that differ in their actions or
// in their resources only, and have the same Sid but for a number, are joined;
// of the others with one Sid all but the first get a number.
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

// joined lays together those that are alike in what the caller compares.
func joined(all []Statement, alike func(x, y Statement) bool) []Statement {
	var out []Statement
	for _, s := range all {
		s.Action, s.Resource = sorted(s.Action), sorted(s.Resource)
		i := slices.IndexFunc(out, func(have Statement) bool {
			return base(have.Sid) == base(s.Sid) && have.Effect == s.Effect && alike(have, s) &&
				fmt.Sprint(have.Condition) == fmt.Sprint(s.Condition) // maps print sorted
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

// base is a Sid without the number that tells it from others.
func base(sid string) string { return strings.TrimRight(sid, "0123456789") }

// sorted is list without repetitions, in a slice of its own.
func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// With is a policy that allows what d and the others allow. A nil one allows
// nothing.
func (d *Document) With(others ...*Document) *Document {
	var all []Statement
	for _, one := range append([]*Document{d}, others...) {
		if one != nil {
			all = append(all, one.Statement...)
		}
	}
	return New(all...)
}

// Actions are all that the policy allows, sorted.
func (d *Document) Actions() []string {
	var all []string
	for _, s := range d.Statement {
		all = append(all, s.Action...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// String is the policy as indented JSON.
func (d *Document) String() string {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err.Error() // strings always marshal
	}
	return string(text)
}
