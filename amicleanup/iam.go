package amicleanup

import (
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// IAMPolicyOptions say what a program does with a Cleaner. Nil and the zero
// value are that it plans and applies, in all targets.
type IAMPolicyOptions struct {
	// Accounts are the labels of the targets to count (Target.Account), for a
	// role of one account. Empty is all.
	Accounts []string

	// PlanOnly leaves out what Apply and ApplyOrphans need to change anything.
	PlanOnly bool

	// Undo adds what Cleaner.Undo needs.
	Undo bool

	// Orphans adds what PlanOrphans and ApplyOrphans need for this policy. Nil
	// adds nothing.
	Orphans *OrphanPolicy
}

// IAMPolicy is the least that the credentials of the targets need for what o
// says, as an IAM policy. It does no I/O.
//
// Images that are changed or removed must be in the targets' regions, and have
// the tags that Select wants, and none that it excepts: whatever a program does,
// with this policy alone it touches no others. With Select.Baked also snapshots
// must have the tag of this library's builds; of other images EC2 cannot tell
// which snapshots are theirs. Reads cannot be limited so.
//
// Of a Ladder it allows the rungs that there are. While images are still on one
// that was taken out, what that needs is needed as well. The right to assume a
// role in another account is not in it.
func (c *Cleaner) IAMPolicy(o *IAMPolicyOptions) *iampolicy.Document {
	if o == nil {
		o = &IAMPolicyOptions{}
	}
	var all []iampolicy.Statement
	for _, t := range c.Targets {
		if len(o.Accounts) > 0 && !slices.Contains(o.Accounts, t.Account) {
			continue
		}
		all = append(all, c.Policy.reading(t.Region)...)
		if len(c.Policy.Keep) > 0 { // without keepers everything is kept
			all = append(all, c.Policy.changing(t.Region, o)...)
		}
		if o.Orphans != nil {
			all = append(all, o.Orphans.statements(t.Region, o.PlanOnly)...)
		}
	}
	return iampolicy.New(all...)
}

// IAMPolicy is the least that the credentials of the service need, as an IAM
// policy: what its Cleaner needs, with its Orphans unless o says others, for the
// reports, and for its Lock if that can tell. A Service whose Review applies
// nothing needs no more than PlanOnly. It does no I/O.
func (s *Service) IAMPolicy(o *IAMPolicyOptions) *iampolicy.Document {
	all := IAMPolicyOptions{}
	if o != nil {
		all = *o
	}
	if all.Orphans == nil {
		all.Orphans = s.Orphans
	}
	d := s.Cleaner.IAMPolicy(&all)
	if len(d.Statement) > 0 && len(s.Cleaner.Policy.Keep) > 0 {
		d = d.With(iampolicy.New(look("ec2:DescribeSnapshots"))) // for ReadSizes
	}
	if lock, ok := s.Lock.(interface{ IAMPolicy() *iampolicy.Document }); ok {
		d = d.With(lock.IAMPolicy())
	}
	return d
}

// IAMPolicy is what AfterBake needs for an artifact in these regions: ec2.Policy
// counts it among what the image needs.
func (a *afterBake) IAMPolicy(regions ...string) *iampolicy.Document {
	c := a.cleaner
	c.Targets = slices.DeleteFunc(slices.Clone(c.Targets), func(t Target) bool { return !slices.Contains(regions, t.Region) })
	return c.IAMPolicy(nil)
}

// IAMPolicy is what the lock needs, as an IAM policy, in whatever region it is.
func (l *ParameterLock) IAMPolicy() *iampolicy.Document {
	return iampolicy.New(iampolicy.Allow("Lock",
		[]string{"ssm:GetParameter", "ssm:PutParameter", "ssm:DeleteParameter"},
		iampolicy.ARNs("ssm", "*", "parameter/"+strings.TrimPrefix(l.Name, "/")), nil))
}
