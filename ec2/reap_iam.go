package ec2

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// IAM lists roles and profiles without their tags, so those with names as builds give
// them are read one by one.

// namePrefix begins the names of temporary groups, roles and profiles.
const namePrefix = "bakestone-"

// findNamed returns the names of the instance profiles and roles of builds.
func (p *reapPlace) findNamed(ctx context.Context) (map[string][]string, time.Time, error) {
	found := map[string][]string{}
	var at serverTime
	add := func(kind string, name *string) {
		if n := aws.ToString(name); strings.HasPrefix(n, namePrefix) {
			found[kind] = append(found[kind], n)
		}
	}
	for pages := iam.NewListInstanceProfilesPaginator(p.region.iam, &iam.ListInstanceProfilesInput{MaxItems: aws.Int32(pageSize)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, time.Time{}, err
		}
		at.see(page.ResultMetadata)
		for _, profile := range page.InstanceProfiles {
			add("instance profile", profile.InstanceProfileName)
		}
	}
	for pages := iam.NewListRolesPaginator(p.region.iam, &iam.ListRolesInput{MaxItems: aws.Int32(pageSize)}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, time.Time{}, err
		}
		at.see(page.ResultMetadata)
		for _, role := range page.Roles {
			add("role", role.RoleName)
		}
	}
	if at.IsZero() {
		return nil, time.Time{}, errNoDate
	}
	return found, at.Time, nil
}

func iamTagMap(list []iamtypes.Tag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, t := range list {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags
}

// seeNamed reads the resources of IAM by name.
func seeNamed(ids []string, get func(name *string, at *serverTime) ([]iamtypes.Tag, error)) (sightings, error) {
	seen := sightings{byID: map[string]sighting{}}
	for _, id := range ids {
		tags, err := get(aws.String(id), &seen.at)
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return sightings{}, err
		}
		seen.byID[id] = sighting{tags: iamTagMap(tags)}
	}
	return seen, nil
}

func (p *reapPlace) seeProfiles(ctx context.Context, ids []string, _ map[string]bool) (sightings, error) {
	return seeNamed(ids, func(name *string, at *serverTime) ([]iamtypes.Tag, error) {
		out, err := p.region.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: name})
		if err != nil {
			return nil, err
		}
		at.see(out.ResultMetadata)
		return out.InstanceProfile.Tags, nil
	})
}

func (p *reapPlace) seeRoles(ctx context.Context, ids []string, _ map[string]bool) (sightings, error) {
	return seeNamed(ids, func(name *string, at *serverTime) ([]iamtypes.Tag, error) {
		out, err := p.region.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
		if err != nil {
			return nil, err
		}
		at.see(out.ResultMetadata)
		return out.Role.Tags, nil
	})
}

func (p *reapPlace) removeProfile(ctx context.Context, name string) error {
	return p.removeNamed(ctx, profileRemovals(p.region.iam, name))
}

func (p *reapPlace) removeRole(ctx context.Context, name string) error {
	return p.removeNamed(ctx, roleRemovals(p.region.iam, name))
}

// removeNamed makes the calls. IAM may show what is removed to the next call for a
// while.
func (p *reapPlace) removeNamed(ctx context.Context, calls []func(context.Context) error) error {
	for _, call := range calls {
		if err := p.unlessUsed(ctx, call, "DeleteConflict"); err != nil {
			return err
		}
	}
	return nil
}

// IAMPolicy returns the least-privilege IAM policy that each of the Clouds needs for
// [Reaper.Apply]. It permits removing only what has the tags of a build and the expiry
// tag, so AWS itself refuses to remove a promoted AMI. It does no I/O.
func (r *Reaper) IAMPolicy() *iampolicy.Document {
	all := r.planGrants()
	for _, region := range r.regionNames() {
		tagged := map[string]map[string][]string{"StringLike": {"aws:ResourceTag/" + TagBuild: {"*"}, "aws:ResourceTag/" + TagExpires: {"*"}}}
		for _, remove := range []struct{ action, resource string }{
			{"TerminateInstances", "instance/*"},
			{"DeleteVolume", "volume/*"},
			{"DeleteNetworkInterface", "network-interface/*"},
			{"DeleteSecurityGroup", "security-group/*"},
			{"DeregisterImage", "image/*"},
			{"DeleteSnapshot", "snapshot/*"},
		} {
			all = append(all, grant{"Reap", ec2Actions(remove.action), arns("ec2", region, remove.resource), tagged})
		}
	}
	for partition := range r.partitions() {
		named := "arn:" + partition + ":iam::*:"
		all = append(all,
			grant{"ReapRoles", []string{"iam:DeleteRolePolicy", "iam:DeleteRole"}, []string{named + "role/" + namePrefix + "*"}, nil},
			grant{
				"ReapProfiles", []string{"iam:RemoveRoleFromInstanceProfile", "iam:DeleteInstanceProfile"},
				[]string{named + "instance-profile/" + namePrefix + "*"}, nil,
			})
	}
	return all.document()
}

// PlanPolicy returns the least-privilege IAM policy for [Reaper.Plan]. It permits no
// changes.
func (r *Reaper) PlanPolicy() *iampolicy.Document { return r.planGrants().document() }

func (r *Reaper) planGrants() grants {
	const once, perPartition = 3, 2
	partitions := r.partitions()
	all := append(make(grants, 0, once+perPartition*len(partitions)),
		reading("DescribeTags", "DescribeInstances", "DescribeVolumes", "DescribeNetworkInterfaces",
			"DescribeSecurityGroups", "DescribeImages", "DescribeSnapshots"),
		decoding(),
		grant{"LookForRoles", []string{"iam:ListRoles", "iam:ListInstanceProfiles"}, []string{"*"}, nil})
	for partition := range partitions {
		named := "arn:" + partition + ":iam::*:"
		all = append(all,
			grant{"ReadRoles", []string{"iam:GetRole"}, []string{named + "role/" + namePrefix + "*"}, nil},
			grant{"ReadProfiles", []string{"iam:GetInstanceProfile"}, []string{named + "instance-profile/" + namePrefix + "*"}, nil})
	}
	return all
}

// regionNames returns the regions of all Clouds.
func (r *Reaper) regionNames() []string {
	if len(r.Regions) > 0 {
		return r.Regions
	}
	var names []string
	for _, c := range r.Clouds {
		names = append(names, c.Region())
	}
	return names
}

func (r *Reaper) partitions() map[string]bool {
	all := map[string]bool{}
	for _, region := range r.regionNames() {
		all[iampolicy.Partition(region)] = true
	}
	return all
}
