package amicleanup

import (
	"slices"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// IAMPolicyOptions describes what a program does with a [Cleaner]. Nil means the
// zero value: it plans and applies, in all targets.
type IAMPolicyOptions struct {
	// Accounts are the labels of the targets to include, for a role of one
	// account. Empty means all.
	Accounts []string

	// PlanOnly leaves out what Apply needs for changes.
	PlanOnly bool

	// Undo adds what Undo needs.
	Undo bool
}

// IAMPolicy returns the least-privilege IAM policy for what o describes. It does
// no I/O.
//
// The policy permits changes only to images in the regions of the targets that
// have the tags that Select asks for, and none that it excludes. With
// Select.Baked, snapshots must also have the tag of this library's builds; for
// other images, EC2 cannot tell which snapshots are theirs. Read actions cannot be
// restricted in this way.
//
// Of a lifecycle, the policy permits the steps that it has. Images that are at a
// step that was removed from the lifecycle also need its permissions. The
// permission to assume a role in another account is not included.
func (c *Cleaner) IAMPolicy(o *IAMPolicyOptions) *iampolicy.Document {
	if o == nil {
		o = &IAMPolicyOptions{}
	}
	p := &c.Policy
	removes := len(p.Keep)+len(p.Remove) > 0 // otherwise everything is kept
	var all []iampolicy.Statement
	for _, t := range c.Targets {
		if len(o.Accounts) > 0 && !slices.Contains(o.Accounts, t.Account) {
			continue
		}
		all = append(all, p.reading(t.region())...)
		if c.Details && removes {
			all = append(all, look("ec2:DescribeSnapshots"))
		}
		if removes {
			all = append(all, p.changing(t.region(), o)...)
		}
		if p.Snapshots != nil {
			all = append(all, p.Snapshots.statements(t.region(), o.PlanOnly)...)
		}
	}
	return iampolicy.New(all...)
}

// IAMPolicy returns the permissions of AfterBake for an artifact in these regions.
// ec2.Policy includes them in those of the image.
func (a *afterBake) IAMPolicy(regions ...string) *iampolicy.Document {
	c := a.cleaner
	c.Targets = slices.DeleteFunc(slices.Clone(c.Targets), func(t Target) bool { return !slices.Contains(regions, t.region()) })
	return c.IAMPolicy(nil)
}
