package ec2

import (
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// Policy returns the least-privilege IAM policy that the credentials of cloud need
// to bake the images, to clean up after failures and to destroy the AMIs. It covers
// the features that each Builder uses and every [PolicyPublisher]. It ignores images
// of other accounts and platforms. It does no I/O.
//
// The policy permits creating only resources with this package's tags, and changing
// or removing only resources that have them: it permits changes only to resources
// that Bakestone created. Read actions cannot be restricted in EC2. Roles and keys
// are named if the images name them. The account id is always "*".
func Policy(cloud *Cloud, images ...*bake.Image) *iampolicy.Document {
	var all grants
	var others []*iampolicy.Document
	for _, img := range images {
		b, ok := builderOf(img)
		if !ok {
			continue
		}
		if b.Cloud == cloud && b.needsInstance(img) {
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
				all = append(all, b.diskKeyGrants(b.place())...) // to read the snapshots it copies
			}
		}
	}
	return all.document().With(others...)
}

// publisherPolicy returns the permissions that a publisher needs for the credentials
// of cloud, or nil.
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

// A grant is a statement that one feature needs.
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

// arns returns the ARNs of resources such as "image/*" in any account.
func arns(service, region string, resources ...string) []string {
	return iampolicy.ARNs(service, region, resources...)
}
