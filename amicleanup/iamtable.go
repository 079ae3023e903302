package amicleanup

import (
	"maps"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// The permissions of each part of a policy. What a call needs is from "Actions,
// resources, and condition keys for Amazon EC2" of the Service Authorization
// Reference.

// look allows reads, on everything: EC2 knows no narrower form.
func look(actions ...string) iampolicy.Statement {
	return iampolicy.Allow("Look", actions, []string{"*"}, nil)
}

// allow allows calls of EC2 on resources of a region.
func allow(sid, region, resource string, c iampolicy.Condition, actions ...string) iampolicy.Statement {
	return iampolicy.Allow(sid, actions, iampolicy.ARNs("ec2", region, resource), c)
}

// reading is what Read needs: for the images, the sources, the opinions, and the
// rest that keepers and limits ask for.
func (p *Policy) reading(region string) []iampolicy.Statement {
	all := []iampolicy.Statement{look("ec2:DescribeImages")}
	for _, s := range p.sources() {
		if n, ok := s.(interface{ IAMActions() []string }); ok {
			all = append(all, look(n.IAMActions()...))
		}
	}
	for _, o := range p.opinions() {
		all = append(all, look(o.IAMActions...))
		if o.statements != nil {
			all = append(all, o.statements(region)...)
		}
	}
	if p.wantsShares() {
		all = append(all, look("ec2:DescribeImageAttribute"))
	}
	if p.Limits.Recoverable > 0 {
		all = append(all, look("rbin:ListRules", "rbin:GetRule"))
	}
	return all
}

// referenceStatements are what ImageReferences needs: EC2 in turn reads in the
// caller's name. (EC2, "Identify your resources referencing specified AMIs".)
func referenceStatements(string) []iampolicy.Statement {
	return []iampolicy.Statement{
		look("ec2:DescribeImageReferences"),
		iampolicy.Allow("LookThroughEC2", []string{
			"ec2:DescribeInstances", "ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions",
			"ssm:DescribeParameters", "ssm:GetParameters",
			"imagebuilder:ListImageRecipes", "imagebuilder:ListContainerRecipes", "imagebuilder:GetContainerRecipe",
		}, []string{"*"}, iampolicy.Condition{
			"ForAnyValue:StringEquals": {"aws:CalledVia": {"ec2-images.amazonaws.com"}},
		}),
	}
}

// reportStatements are what UsageReports needs.
func reportStatements(region string) []iampolicy.Statement {
	return []iampolicy.Statement{
		look("ec2:DescribeImageAttribute", "ec2:DescribeImageUsageReports", "ec2:DescribeImageUsageReportEntries"),
		allow("Report", region, "image/*", nil, "ec2:CreateImageUsageReport"),
		allow("Report", region, "image-usage-report/*", nil, "ec2:CreateImageUsageReport"),
	}
}

// changing is what Apply and Undo need besides.
func (p *Policy) changing(region string, o *IAMPolicyOptions) []iampolicy.Statement {
	var all []iampolicy.Statement
	selected := p.Select.condition()
	image := func(sid string, actions ...string) {
		all = append(all, allow(sid, region, "image/*", selected, actions...))
	}
	if !o.PlanOnly {
		image("Remove", "ec2:DeregisterImage")
		all = append(all, look("ec2:DescribeSnapshots"), allow("Remove", region, "snapshot/*", p.Select.snapshots(), "ec2:DeleteSnapshot"))
	}
	if p.Ladder.Disabled > 0 && !o.PlanOnly {
		all = append(all, look("ec2:DescribeImageAttribute"))
		image("Retire", "ec2:DisableImage")
	}
	if o.PlanOnly && !o.Undo {
		return all
	}
	if o.Undo {
		// What is in the Recycle Bin was removed by the policy before.
		all = append(all,
			allow("TakeBack", region, "image/*", nil, "ec2:RestoreImageFromRecycleBin"),
			allow("TakeBack", region, "snapshot/*", nil, "ec2:RestoreSnapshotFromRecycleBin"))
	}
	if p.Ladder.Deprecated > 0 {
		image("Retire", "ec2:EnableImageDeprecation", "ec2:DisableImageDeprecation")
	}
	if p.Ladder.Disabled > 0 {
		image("Retire", "ec2:EnableImage", "ec2:ModifyImageAttribute")
	}
	if p.Ladder != (Ladder{}) {
		ours := maps.Clone(selected)
		ours["ForAllValues:StringLike"] = map[string][]string{"aws:TagKeys": {TagRetired, TagShared + "*"}}
		all = append(all, allow("Mark", region, "image/*", ours, "ec2:CreateTags", "ec2:DeleteTags"))
	}
	return all
}

// statements are what PlanOrphans and ApplyOrphans need.
func (p *OrphanPolicy) statements(region string, planOnly bool) []iampolicy.Statement {
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

// condition is that an image has the tags that the selection goes by.
func (s *Select) condition() iampolicy.Condition {
	tags := maps.Clone(s.Tags)
	if s.Baked {
		if tags == nil {
			tags = map[string]string{}
		}
		if _, named := tags[tagBuild]; !named {
			tags[tagBuild] = "*"
		}
	}
	return tagged(tags, s.Except)
}

// snapshots is that a snapshot is of an image that the selection may have. The
// tags of an image need not be on its snapshots, but those of a build are.
func (s *Select) snapshots() iampolicy.Condition {
	if !s.Baked {
		return nil
	}
	return tagged(map[string]string{tagBuild: "*"}, nil)
}

// tagged is the condition that a resource has tags, "*" being any value, and
// does not have others.
func tagged(with, without map[string]string) iampolicy.Condition {
	c := iampolicy.Condition{}
	add := func(operator, key, value string) {
		if c[operator] == nil {
			c[operator] = map[string][]string{}
		}
		// What stands in ${} would be a variable.
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
			add("Null", key, "true") // there is no such tag
		} else {
			add("StringNotEquals", key, without[key])
		}
	}
	return c
}
