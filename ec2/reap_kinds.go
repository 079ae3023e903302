package ec2

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// seeAll collects the sightings of describe calls that filter by ids, which do not
// fail for ids that do not exist.
func seeAll[Page any](ctx context.Context, ids []string, name string, pages func(ec2types.Filter) pager[Page], see func(*Page, *sightings) middleware.Metadata) (sightings, error) {
	seen := sightings{byID: map[string]sighting{}}
	for some := range slices.Chunk(ids, mostFilterValues) {
		err := eachPage(ctx, pages(filter(name, some...)), func(page *Page) { seen.at.see(see(page, &seen)) })
		if err != nil {
			return sightings{}, err
		}
	}
	return seen, nil
}

func (s *sightings) add(id *string, tags []ec2types.Tag, used string) {
	s.byID[aws.ToString(id)] = sighting{tagMap(tags), used}
}

// addUsed adds a resource that the one which users has for it keeps in use.
func (s *sightings) addUsed(id *string, tags []ec2types.Tag, users map[string]string) {
	used := ""
	if by := users[aws.ToString(id)]; by != "" {
		used = "it is in use by " + by
	}
	s.add(id, tags, used)
}

func (p *reapPlace) seeInstances(ctx context.Context, ids []string, _ map[string]bool) (sightings, error) {
	return seeAll(ctx, ids, "instance-id", func(by ec2types.Filter) pager[awsec2.DescribeInstancesOutput] {
		return awsec2.NewDescribeInstancesPaginator(p.region.client, &awsec2.DescribeInstancesInput{Filters: []ec2types.Filter{by}, MaxResults: aws.Int32(pageSize)})
	}, func(page *awsec2.DescribeInstancesOutput, seen *sightings) middleware.Metadata {
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				if i.State == nil || i.State.Name != ec2types.InstanceStateNameTerminated {
					seen.add(i.InstanceId, i.Tags, "")
				}
			}
		}
		return page.ResultMetadata
	})
}

// removeInstance terminates an instance and waits until it is terminated, since
// volumes, interfaces and groups are in use until then.
func (p *reapPlace) removeInstance(ctx context.Context, id string) error {
	_, err := p.region.client.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return unlessGone(err)
	}
	return p.region.instances.WaitQuiet(ctx, id, p.region.pollIntervals(quietInstance), func(i ec2types.Instance, found bool) (bool, error) {
		return !found || i.State.Name == ec2types.InstanceStateNameTerminated, nil
	})
}

func unlessGone(err error) error {
	if isNotFound(err) {
		return nil
	}
	return err
}

// unlessUsed repeats a removal while it fails with one of the codes: what has used the
// resource is just being removed. The codes remain as the error when ctx ends.
func (p *reapPlace) unlessUsed(ctx context.Context, remove func(context.Context) error, codes ...string) error {
	var last error
	err := clock.WaitFor(ctx, p.region.clock, retryEvery, func(ctx context.Context) (bool, error) {
		err := unlessGone(remove(ctx))
		if slices.Contains(codes, awsapi.Code(err)) {
			last = err
			return false, nil
		}
		return err == nil, err
	})
	if err != nil && last != nil && awsapi.Code(err) == "" {
		return fmt.Errorf("%w: %w", err, last)
	}
	return err
}

func (p *reapPlace) seeVolumes(ctx context.Context, ids []string, going map[string]bool) (sightings, error) {
	return seeAll(ctx, ids, "volume-id", func(by ec2types.Filter) pager[awsec2.DescribeVolumesOutput] {
		return awsec2.NewDescribeVolumesPaginator(p.region.client, &awsec2.DescribeVolumesInput{Filters: []ec2types.Filter{by}, MaxResults: aws.Int32(mostVolumes)})
	}, func(page *awsec2.DescribeVolumesOutput, seen *sightings) middleware.Metadata {
		for _, v := range page.Volumes {
			used := ""
			for _, a := range v.Attachments {
				if id := aws.ToString(a.InstanceId); !going[id] {
					used = "it is attached to " + id
				}
			}
			seen.add(v.VolumeId, v.Tags, used)
		}
		return page.ResultMetadata
	})
}

// mostVolumes is the most volumes of a page.
const mostVolumes = 500

// removeVolume deletes a volume; most are deleted with their instance.
func (p *reapPlace) removeVolume(ctx context.Context, id string) error {
	return p.unlessUsed(ctx, func(ctx context.Context) error {
		_, err := p.region.client.DeleteVolume(ctx, &awsec2.DeleteVolumeInput{VolumeId: aws.String(id)})
		return err
	}, "VolumeInUse", "IncorrectState")
}

// interfaces returns the network interfaces with an attribute.
func (p *reapPlace) interfaces(by ec2types.Filter) pager[awsec2.DescribeNetworkInterfacesOutput] {
	return awsec2.NewDescribeNetworkInterfacesPaginator(p.region.client, &awsec2.DescribeNetworkInterfacesInput{
		Filters: []ec2types.Filter{by}, MaxResults: aws.Int32(pageSize),
	})
}

// holder returns the instance or interface that keeps an interface in use, or "".
func holder(i ec2types.NetworkInterface, going map[string]bool) string {
	if i.Attachment == nil {
		return ""
	}
	id := aws.ToString(i.Attachment.InstanceId)
	switch {
	case going[id]:
		return ""
	case id == "":
		return aws.ToString(i.Attachment.InstanceOwnerId) // a service of AWS
	}
	return id
}

func (p *reapPlace) seeInterfaces(ctx context.Context, ids []string, going map[string]bool) (sightings, error) {
	return seeAll(ctx, ids, "network-interface-id", p.interfaces, func(page *awsec2.DescribeNetworkInterfacesOutput, seen *sightings) middleware.Metadata {
		for _, i := range page.NetworkInterfaces {
			used := ""
			if by := holder(i, going); by != "" {
				used = "it is attached to " + by
			}
			seen.add(i.NetworkInterfaceId, i.TagSet, used)
		}
		return page.ResultMetadata
	})
}

func (p *reapPlace) removeInterface(ctx context.Context, id string) error {
	return p.unlessUsed(ctx, func(ctx context.Context) error {
		_, err := p.region.client.DeleteNetworkInterface(ctx, &awsec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: aws.String(id)})
		return err
	}, "InvalidNetworkInterface.InUse", "InvalidParameterValue")
}

// seeGroups also looks for interfaces that use the groups.
func (p *reapPlace) seeGroups(ctx context.Context, ids []string, going map[string]bool) (sightings, error) {
	users := map[string]string{}
	using, err := seeAll(ctx, ids, "group-id", p.interfaces, func(page *awsec2.DescribeNetworkInterfacesOutput, _ *sightings) middleware.Metadata {
		for _, i := range page.NetworkInterfaces {
			id := aws.ToString(i.NetworkInterfaceId)
			if going[id] || i.Attachment != nil && going[aws.ToString(i.Attachment.InstanceId)] {
				continue
			}
			for _, g := range i.Groups {
				users[aws.ToString(g.GroupId)] = id
			}
		}
		return page.ResultMetadata
	})
	if err != nil {
		return using, err
	}
	return seeAll(ctx, ids, "group-id", func(by ec2types.Filter) pager[awsec2.DescribeSecurityGroupsOutput] {
		return awsec2.NewDescribeSecurityGroupsPaginator(p.region.client, &awsec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{by}, MaxResults: aws.Int32(pageSize)})
	}, func(page *awsec2.DescribeSecurityGroupsOutput, seen *sightings) middleware.Metadata {
		for _, g := range page.SecurityGroups {
			seen.addUsed(g.GroupId, g.Tags, users)
		}
		return page.ResultMetadata
	})
}

func (p *reapPlace) removeGroup(ctx context.Context, id string) error {
	return p.unlessUsed(ctx, func(ctx context.Context) error {
		_, err := p.region.client.DeleteSecurityGroup(ctx, &awsec2.DeleteSecurityGroupInput{GroupId: aws.String(id)})
		return err
	}, "DependencyViolation")
}

// ownImages returns the account's images that a filter selects, whatever their state.
func (p *reapPlace) ownImages(by ec2types.Filter) pager[awsec2.DescribeImagesOutput] {
	return awsec2.NewDescribeImagesPaginator(p.region.client, &awsec2.DescribeImagesInput{
		Owners: []string{Self}, Filters: []ec2types.Filter{by}, MaxResults: aws.Int32(pageSize),
		IncludeDeprecated: aws.Bool(true), IncludeDisabled: aws.Bool(true),
	})
}

func (p *reapPlace) seeImages(ctx context.Context, ids []string, _ map[string]bool) (sightings, error) {
	return seeAll(ctx, ids, "image-id", p.ownImages, func(page *awsec2.DescribeImagesOutput, seen *sightings) middleware.Metadata {
		for _, i := range page.Images {
			seen.add(i.ImageId, i.Tags, "")
		}
		return page.ResultMetadata
	})
}

// seeSnapshots also looks for images that use the snapshots: promotion may have been
// cut between an image and its snapshots.
func (p *reapPlace) seeSnapshots(ctx context.Context, ids []string, going map[string]bool) (sightings, error) {
	users := map[string]string{}
	using, err := seeAll(ctx, ids, "block-device-mapping.snapshot-id", p.ownImages, func(page *awsec2.DescribeImagesOutput, _ *sightings) middleware.Metadata {
		for _, i := range page.Images {
			if id := aws.ToString(i.ImageId); !going[id] {
				for _, snapshot := range snapshotsOf(i) {
					users[snapshot] = id
				}
			}
		}
		return page.ResultMetadata
	})
	if err != nil {
		return using, err
	}
	return seeAll(ctx, ids, "snapshot-id", func(by ec2types.Filter) pager[awsec2.DescribeSnapshotsOutput] {
		return awsec2.NewDescribeSnapshotsPaginator(p.region.client, &awsec2.DescribeSnapshotsInput{
			OwnerIds: []string{Self}, Filters: []ec2types.Filter{by}, MaxResults: aws.Int32(pageSize),
		})
	}, func(page *awsec2.DescribeSnapshotsOutput, seen *sightings) middleware.Metadata {
		for _, s := range page.Snapshots {
			seen.addUsed(s.SnapshotId, s.Tags, users)
		}
		return page.ResultMetadata
	})
}

func (p *reapPlace) removeSnapshot(ctx context.Context, id string) error {
	return p.region.deleteSnapshots(ctx, []string{id})
}
