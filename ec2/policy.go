package ec2

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A PolicyDocument is an IAM policy. It marshals to the JSON that IAM takes.
type PolicyDocument struct {
	Version   string
	Statement []PolicyStatement
}

// A PolicyStatement allows actions on resources.
type PolicyStatement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string][]string `json:",omitempty"` // by operator and key
}

// Policy is the least that the credentials of cloud need to bake the images, to
// clean up after them, and to destroy them again: what each of them uses of its
// Builder and of the publishers of this package. Images of other accounts and
// of other platforms count for nothing.
//
// What is created must carry this package's tags, and what is changed or
// removed must have them: with this policy alone nobody touches anything that
// he did not bake. Reads cannot be limited so; EC2 knows no narrower form.
// Roles and keys are named as far as the images name them.
//
// The document stands for an account of its own: it has "*" in place of the
// account's id. It does no I/O.
func Policy(cloud *Cloud, images ...*bake.Image) *PolicyDocument {
	var all grants
	for _, img := range images {
		b, ok := img.Builder.(Builder)
		if !ok {
			continue
		}
		if b.Cloud == cloud {
			all = append(all, b.grants()...)
			for _, p := range img.Publishers {
				all = append(all, b.publisherGrants(p)...)
			}
		}
		for _, c := range b.Distribute.Copies {
			if b.cloudOf(c) == cloud {
				all = append(all, c.grants()...)
			}
			if other := b.cloudOf(c); other.assumedBy == cloud {
				all = append(all, grant{"Assume", []string{"sts:AssumeRole"}, []string{other.role}, nil})
			}
			if b.cloudOf(c) == cloud && b.Cloud != cloud {
				all = append(all, b.releaseGrants(c.Region)...)
				for _, p := range img.Publishers {
					all = append(all, Builder{Region: c.Region, Cloud: cloud}.publisherGrants(p)...)
				}
			}
		}
	}
	return all.document()
}

// Actions are all that the policy allows, sorted.
func (d *PolicyDocument) Actions() []string {
	var all []string
	for _, s := range d.Statement {
		all = append(all, s.Action...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// String is the policy as indented JSON.
func (d *PolicyDocument) String() string {
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err.Error() // strings always marshal
	}
	return string(text)
}

// A grant is one statement of one feature.
type grant struct {
	sid       string
	actions   []string
	resources []string
	condition map[string]map[string][]string
}

type grants []grant

// document joins what differs in its actions or in its resources only.
func (g grants) document() *PolicyDocument {
	d := &PolicyDocument{Version: "2012-10-17", Statement: []PolicyStatement{}}
	for _, by := range []func(x, y grant) bool{
		func(x, y grant) bool { return slices.Equal(x.resources, y.resources) },
		func(x, y grant) bool { return slices.Equal(x.actions, y.actions) },
	} {
		var joined grants
		for _, one := range g {
			i := slices.IndexFunc(joined, func(have grant) bool {
				return have.sid == one.sid && by(have, one) && fmt.Sprint(have.condition) == fmt.Sprint(one.condition)
			})
			if i < 0 {
				joined = append(joined, grant{one.sid, sorted(one.actions), sorted(one.resources), one.condition})
				continue
			}
			joined[i].actions = sorted(append(joined[i].actions, one.actions...))
			joined[i].resources = sorted(append(joined[i].resources, one.resources...))
		}
		g = joined
	}
	times := map[string]int{}
	for _, one := range g {
		sid := one.sid
		if times[sid]++; times[sid] > 1 {
			sid += fmt.Sprint(times[sid])
		}
		d.Statement = append(d.Statement, PolicyStatement{
			Sid: sid, Effect: "Allow", Action: one.actions, Resource: one.resources, Condition: one.condition,
		})
	}
	return d
}

// sorted is list without repetitions, in a slice of its own.
func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// arns names resources of a service in a region, of any account: "image/*". It
// is every resource when the region is not known.
func arns(service, region string, resources ...string) []string {
	out := make([]string, 0, len(resources))
	for _, resource := range resources {
		account := "*"
		if service == "ec2" && (resource == "image/*" || resource == "snapshot/*") {
			account = "" // EC2 leaves it out
		}
		out = append(out, strings.Join([]string{"arn", partition(region), service, region, account, resource}, ":"))
	}
	return out
}

// partition is the part of AWS that a region belongs to.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}
