package ec2

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// An endpoint may answer a create call with the id of a resource that does not exist
// or is not the build's. A build therefore waits for its own tag on each resource,
// for SettleTime, and never removes one without it.

// errUnknownID is returned, wrapped, for an id that EC2 does not show, or shows for
// another resource than the build's.
var errUnknownID = errors.New("unknown id")

// errNotOurs is returned, wrapped, for an id of another resource than the build's.
var errNotOurs = fmt.Errorf("%w: not created by this build", errUnknownID)

// An absence measures how long EC2 has not shown a resource of the build.
type absence struct {
	region *region
	kind   string
	id     string
	since  time.Time // zero while EC2 shows it
}

func (r *region) absence(kind, id string) *absence {
	return &absence{region: r, kind: kind, id: id}
}

// check returns an error once EC2 has not shown the resource, or has shown it without
// the build's tag, for SettleTime.
func (a *absence) check(found, ours bool) error {
	if found && ours {
		a.since = time.Time{}
		return nil
	}
	now := a.region.clock.Now()
	if a.since.IsZero() {
		a.since = now
	}
	switch {
	case now.Sub(a.since) < a.region.settle:
		return nil
	case found:
		return fmt.Errorf("%s %s: %w: EC2 shows it without the tag %s of the build", a.kind, a.id, errNotOurs, TagBuild)
	default:
		return fmt.Errorf("%s %s: %w: EC2 has not shown it for CloudOptions.SettleTime (%v)", a.kind, a.id, errUnknownID, a.region.settle)
	}
}

// ofBuild reports whether the tags are of a build.
func ofBuild(tags []ec2types.Tag, build string) bool { return tagMap(tags)[TagBuild] == build }

// ownsImage reports whether the image has the build's tag. At an endpoint that does
// not tag new images, its name must be that of the build's AMI: names are unique in an
// account and region.
func (s *session) ownsImage(i ec2types.Image) bool {
	if build, tagged := tagMap(i.Tags)[TagBuild]; tagged {
		return build == s.run.ID
	}
	name := aws.ToString(i.Name)
	return name != "" && (name == s.workingName() || name == s.builder.AMIName)
}

// verifyImage waits until EC2 shows the new image as the build's.
func (s *session) verifyImage(ctx context.Context, r *region, id string) error {
	missing := r.absence("image", id)
	return r.images.Wait(ctx, id, func(i ec2types.Image, found bool) (bool, error) {
		ours := found && s.ownsImage(i)
		return ours, missing.check(found, ours)
	})
}

// isOfAnother reports whether EC2 shows the instance, but without the build's tag.
func (s *session) isOfAnother(ctx context.Context, id string) (bool, error) {
	found, err := s.region.fetchInstances(ctx, []string{id})
	i, shown := found[id]
	return shown && !ofBuild(i.Tags, s.run.ID), err
}

// fetchGroups returns the security groups with the ids.
func (r *region) fetchGroups(ctx context.Context, ids []string) (map[string]ec2types.SecurityGroup, error) {
	return fetch(ctx, ids, "group-id", func(ctx context.Context, by ec2types.Filter, found map[string]ec2types.SecurityGroup) error {
		groups, err := r.describeSecurityGroups(ctx, by)
		for _, g := range groups {
			found[aws.ToString(g.GroupId)] = g
		}
		return err
	})
}

// provesGroup reports whether the response that has the new group's id also has its
// ARN and the build's tag. EC2 sends both, but other endpoints may not.
func provesGroup(out *awsec2.CreateSecurityGroupOutput, build string) bool {
	return ofBuild(out.Tags, build) && strings.HasSuffix(aws.ToString(out.SecurityGroupArn), "/"+aws.ToString(out.GroupId))
}

// verifyGroup waits until EC2 shows the new security group with the build's tag.
func (s *session) verifyGroup(ctx context.Context, id string) error {
	missing := s.region.absence("security group", id)
	return s.region.groups.Wait(ctx, id, func(g ec2types.SecurityGroup, found bool) (bool, error) {
		ours := found && ofBuild(g.Tags, s.run.ID)
		return ours, missing.check(found, ours)
	})
}

// ownSnapshots returns the snapshots among ids, without those that EC2 shows without
// the build's tag.
func (r *region) ownSnapshots(ctx context.Context, build string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	foreign := map[string]bool{}
	err := r.eachSnapshot(ctx, filter("snapshot-id", ids...), func(s ec2types.Snapshot) {
		foreign[aws.ToString(s.SnapshotId)] = !ofBuild(s.Tags, build)
	})
	own := make([]string, 0, len(ids))
	for _, id := range ids {
		if !foreign[id] {
			own = append(own, id)
		}
	}
	return own, err
}
