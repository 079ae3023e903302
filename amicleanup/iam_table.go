package amicleanup

import (
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/tagnames"
)

// Permissions of each part of a policy, from "Actions, resources, and condition
// keys for Amazon EC2" of the Service Authorization Reference.

// look permits reads of all resources; EC2 has no narrower form.
func look(actions ...string) iampolicy.Statement {
	return iampolicy.Allow("Look", actions, []string{"*"}, nil)
}

// allow permits calls of EC2 on resources of a region.
func allow(sid, region, resource string, c iampolicy.Condition, actions ...string) iampolicy.Statement {
	return iampolicy.Allow(sid, actions, iampolicy.ARNs("ec2", region, resource), c)
}

// reading returns what planning needs.
func (p *Policy) reading(region string) []iampolicy.Statement {
	all := []iampolicy.Statement{look("ec2:DescribeImages")}
	needs := p.needs()
	for i := range needs.Sources {
		s := &needs.Sources[i]
		if s.Permissions != nil {
			all = append(all, s.Permissions(region)...)
		}
		needs.Shares = needs.Shares || s.SharedOnly
	}
	if needs.Shares {
		all = append(all, look("ec2:DescribeImageAttribute"))
	}
	if needs.Locks {
		all = append(all, look("ec2:DescribeLockedSnapshots"))
	}
	if p.Limits.Recoverable > 0 {
		all = append(all, look("rbin:ListRules", "rbin:GetRule"))
	}
	return all
}

// changing returns what Apply and Undo need in addition.
func (p *Policy) changing(region string, o *IAMPolicyOptions) []iampolicy.Statement {
	var all []iampolicy.Statement
	selected := p.Select.condition()
	image := func(sid string, actions ...string) {
		all = append(all, allow(sid, region, "image/*", selected, actions...))
	}
	if !o.PlanOnly {
		image("Remove", "ec2:DeregisterImage")
		all = append(all, allow("Remove", region, "snapshot/*", p.Select.snapshots(), "ec2:DeleteSnapshot"))
	}
	if p.LiftProtection && !o.PlanOnly {
		image("Remove", "ec2:DisableImageDeregistrationProtection")
	}
	if p.Lifecycle.disables() && !o.PlanOnly {
		all = append(all, look("ec2:DescribeImageAttribute"))
		image("Retire", "ec2:DisableImage")
	}
	if o.PlanOnly && !o.Undo {
		return all
	}
	if o.Undo {
		// The policy removed what is in the Recycle Bin before.
		all = append(all,
			allow("TakeBack", region, "image/*", nil, "ec2:RestoreImageFromRecycleBin"),
			allow("TakeBack", region, "snapshot/*", nil, "ec2:RestoreSnapshotFromRecycleBin"))
	}
	if p.Lifecycle.deprecates() {
		image("Retire", "ec2:EnableImageDeprecation", "ec2:DisableImageDeprecation")
	}
	if p.Lifecycle.disables() {
		image("Retire", "ec2:EnableImage", "ec2:ModifyImageAttribute")
	}
	if p.Lifecycle != (Lifecycle{}) {
		ours := maps.Clone(selected)
		ours["ForAllValues:StringLike"] = map[string][]string{"aws:TagKeys": {TagRetired, TagShared + "*"}}
		all = append(all, allow("Mark", region, "image/*", ours, "ec2:CreateTags", "ec2:DeleteTags"))
	}
	return all
}

// statements returns what the policy needs.
func (p *SnapshotPolicy) statements(region string, planOnly bool) []iampolicy.Statement {
	reads := look(
		"ec2:DescribeSnapshots", "ec2:DescribeImages", "ec2:ListImagesInRecycleBin", "ec2:DescribeLockedSnapshots",
		"ec2:DescribeLaunchTemplateVersions", "ec2:DescribeSnapshotAttribute",
	)
	if planOnly {
		return []iampolicy.Statement{reads}
	}
	tags := p.tags()
	if p.Described {
		tags = nil
	}
	return []iampolicy.Statement{reads, allow("Remove", region, "snapshot/*", tagged(tags, p.Except), "ec2:DeleteSnapshot")}
}

// condition requires the tags that the selection asks for.
func (s *Select) condition() iampolicy.Condition {
	tags := maps.Clone(s.Tags)
	if s.Baked {
		if tags == nil {
			tags = map[string]string{}
		}
		if _, named := tags[tagnames.Build]; !named {
			tags[tagnames.Build] = "*"
		}
	}
	c := tagged(tags, s.Except)
	if s.FoldCase {
		for from, to := range map[string]string{"StringEquals": "StringEqualsIgnoreCase", "StringNotEquals": "StringNotEqualsIgnoreCase"} {
			if c[from] != nil {
				c[to] = c[from]
				delete(c, from)
			}
		}
	}
	return c
}

// snapshots requires that a snapshot may belong to a selected image. The tags of
// an image need not be on its snapshots, but those of a build are.
func (s *Select) snapshots() iampolicy.Condition {
	if !s.Baked {
		return nil
	}
	return tagged(map[string]string{tagnames.Build: "*"}, nil)
}

// tagged requires tags of a resource, "*" being any value, and excludes others.
func tagged(with, without map[string]string) iampolicy.Condition {
	c := iampolicy.Condition{}
	add := func(operator, key, value string) {
		if c[operator] == nil {
			c[operator] = map[string][]string{}
		}
		// ${ would begin a variable.
		c[operator]["aws:ResourceTag/"+key] = []string{strings.ReplaceAll(value, "${", "${$}{")}
	}
	for _, key := range slices.Sorted(maps.Keys(with)) {
		if with[key] == "*" {
			add("StringLike", key, "*")
		} else {
			add("StringEquals", key, with[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(without)) {
		if without[key] == "*" {
			add("Null", key, "true") // the tag must not exist
		} else {
			add("StringNotEquals", key, without[key])
		}
	}
	return c
}
