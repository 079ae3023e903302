package ec2

import (
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// Policy is the least that the credentials of cloud need to bake the images, to
// clean up after them, and to destroy them again: what each of them uses of its
// Builder, of the publishers of this package, and of any PolicyPublisher. Images
// of other accounts and of other platforms count for nothing.
//
// What is created must carry this package's tags, and what is changed or
// removed must have them: with this policy alone nobody touches anything that
// he did not bake. Reads cannot be limited so; EC2 knows no narrower form.
// Roles and keys are named as far as the images name them.
//
// The document stands for an account of its own: it has "*" in place of the
// account's id. It does no I/O.
func Policy(cloud *Cloud, images ...*bake.Image) *iampolicy.Document {
	var all grants
	var others []*iampolicy.Document
	for _, img := range images {
		b, ok := img.Builder.(Builder)
		if !ok {
			continue
		}
		b = b.of(img)
		if b.Cloud == cloud {
			all = append(all, b.machineGrants()...)
		}
		if img.ProvisionOnly {
			continue
		}
		if b.Cloud == cloud {
			all = append(all, b.imageGrants()...)
			for _, p := range img.Publishers {
				all = append(all, b.publisherGrants(p)...)
				if other, ok := p.(PolicyPublisher); ok {
					others = append(others, other.IAMPolicy(b.ownRegions()...))
				}
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
				all = append(all, b.diskKeyGrants(b.place())...) // of what it fetches
				for _, p := range img.Publishers {
					all = append(all, Builder{Region: c.Region, Cloud: cloud}.publisherGrants(p)...)
				}
			}
		}
	}
	return all.document().With(others...)
}

// A PolicyPublisher is a bake.Publisher that calls AWS by itself and says what
// it needs for that, for the credentials that bake: amicleanup.AfterBake makes
// one.
type PolicyPublisher interface {
	bake.Publisher

	// IAMPolicy is what Publish needs for an artifact that is in these regions,
	// of the account where it is baked. It does no I/O.
	IAMPolicy(regions ...string) *iampolicy.Document
}

// A grant is one statement of one feature.
type grant struct {
	sid       string
	actions   []string
	resources []string
	condition map[string]map[string][]string
}

type grants []grant

func (g grants) document() *iampolicy.Document {
	all := make([]iampolicy.Statement, 0, len(g))
	for _, one := range g {
		all = append(all, iampolicy.Allow(one.sid, one.actions, one.resources, one.condition))
	}
	return iampolicy.New(all...)
}

// arns names resources of a service in a region, of any account: "image/*".
func arns(service, region string, resources ...string) []string {
	return iampolicy.ARNs(service, region, resources...)
}
