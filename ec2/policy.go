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
		b, ok := builderOf(img)
		if !ok {
			continue
		}
		if b.Cloud == cloud {
			all = append(all, b.machineGrants()...)
		}
		if img.ProvisionOnly {
			continue
		}
		if b.Cloud == cloud {
			all = append(all, b.imageGrants()...)
		}
		for _, p := range img.Publishers {
			others = append(others, b.publisherPolicy(p, cloud))
		}
		for _, c := range b.Distribute.Copies {
			if b.cloudOf(c) == cloud {
				all = append(all, c.grants()...)
			}
			if other := b.cloudOf(c); other.assumedBy == cloud {
				all = append(all, grant{"Assume", []string{"sts:AssumeRole"}, []string{other.role}, nil})
			}
			if b.cloudOf(c) == cloud && b.Cloud != cloud {
				all = append(all, b.destinationGrants(c.Region)...)
				all = append(all, b.diskKeyGrants(b.place())...) // of what it fetches
			}
		}
	}
	return all.document().With(others...)
}

// publisherPolicy returns what a publisher needs of the credentials of cloud; nil
// if nothing.
func (b Builder) publisherPolicy(p bake.Publisher, cloud *Cloud) *iampolicy.Document {
	with, ok := bake.As[PolicyPublisher](p)
	if !ok {
		return nil
	}
	var regions []string
	if _, regional := bake.As[RegionalPublisher](p); regional {
		for _, at := range b.publishesTo(p) {
			if at.Cloud == cloud {
				regions = append(regions, at.Region)
			}
		}
	} else if b.Cloud == cloud {
		regions = b.ownRegions()
	}
	if len(regions) == 0 {
		return nil
	}
	return with.IAMPolicy(regions...)
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
