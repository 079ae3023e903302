package ec2

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// A process may end when it has done a step and before that is recorded; the one
// that goes on from the record does the step again. Only some of EC2's calls
// know a repeated one, by a client token or by a name. So what a session from a
// record makes first, it looks for first, by the tag of the create call.

// UnmarshalJSON makes s the session of a record: one that had begun, if it knows
// its source.
func (s *session) UnmarshalJSON(record []byte) error {
	type fields session
	err := json.Unmarshal(record, (*fields)(s))
	s.resumed = s.Source.ID != ""
	return err
}

// unlessMade does what makes something, unless find finds that another process
// has made it. It looks in a session from a record only, and once: the steps that
// come later were not begun.
func (s *session) unlessFound(find func(context.Context) (bool, error), do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if !s.resumed {
			return do(ctx)
		}
		made := false
		err := s.region.settled(ctx, func(ctx context.Context) (_ bool, err error) {
			made, err = find(ctx)
			return made, err
		})
		if err != nil {
			return err
		}
		s.resumed = false
		if made {
			return nil
		}
		return do(ctx)
	}
}

// findLaunched looks for an instance of the build that is or will be there.
func (s *session) findLaunched(ctx context.Context) (bool, error) {
	found, err := s.instancesOfBuild(ctx, ec2types.InstanceStateNamePending, ec2types.InstanceStateNameRunning)
	if err != nil || len(found) == 0 {
		return false, err
	}
	i := found[0]
	at := location{Subnet: aws.ToString(i.SubnetId)}
	if i.Placement != nil {
		at.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	s.Instance = instance{
		ID:        aws.ToString(i.InstanceId),
		candidate: candidate{string(i.InstanceType), i.InstanceLifecycle == ec2types.InstanceLifecycleTypeSpot, at},
	}
	return true, nil
}

// findStopping looks whether the instance is stopped, or will be.
func (s *session) findStopping(ctx context.Context) (bool, error) {
	found, err := s.region.fetchInstances(ctx, []string{s.Instance.ID})
	if err != nil {
		return false, err
	}
	state := found[s.Instance.ID].State
	s.Instance.Stopping = state != nil && (state.Name == ec2types.InstanceStateNameStopping || state.Name == ec2types.InstanceStateNameStopped)
	return s.Instance.Stopping, nil
}

// findTaken looks for snapshots of all volumes of the instance.
func (s *session) findSnapshots(ctx context.Context) (bool, error) {
	found, err := s.region.fetchSnapshots(ctx, []string{s.run.ID})
	if err != nil || len(found[s.run.ID]) == 0 {
		return false, err
	}
	if err := s.readMachine(ctx); err != nil {
		return false, err
	}
	s.nameImage(0)
	s.Machine.Disks = slices.DeleteFunc(s.Machine.Disks, func(d disk) bool { return s.omits(d.Device) })
	for i := range s.Machine.Disks {
		d := &s.Machine.Disks[i]
		at := slices.IndexFunc(found[s.run.ID], func(snap ec2types.Snapshot) bool { return aws.ToString(snap.VolumeId) == d.Volume })
		if at < 0 {
			return false, nil
		}
		d.Snapshot = aws.ToString(found[s.run.ID][at].SnapshotId)
	}
	return true, nil
}

// adopt makes an image the one that the build has made.
func (s *session) adopt(image ec2types.Image) {
	s.Image.ID, s.Image.Snapshots, s.Image.Name = aws.ToString(image.ImageId), completeSnapshots(image), aws.ToString(image.Name)
	if stamp, err := strconv.ParseInt(tagMap(image.Tags)[TagTimestamp], 10, 64); err == nil {
		s.Image.Baked = time.Unix(stamp, 0)
	}
}

// findPromoted learns how far another process has come with the copies and the
// names.
func (s *session) findPromoted(ctx context.Context) error {
	failed := s.eachCopy(ctx, func(ctx context.Context, i int) (err error) {
		c, p := s.builder.Distribute.Copies[i], &s.Copies[i]
		if s.builder.cloudOf(c) != s.builder.Cloud {
			if p.Account, err = c.Cloud.Account(ctx); err != nil {
				return err
			}
			p.Pulling = true // or was: to take it back twice does no harm
		}
		_, err = s.findCopy(ctx, s.copyRegion(i), &p.ID, &p.Snapshots, &p.Replaces)
		return err
	})
	if len(failed) > 0 {
		return &DistributionError{Failed: failed}
	}
	there, err := s.findCopy(ctx, s.region, &s.Image.ID, &s.Image.Snapshots, &s.Image.Replaces)
	if err == nil {
		s.Image.Removed = !there && s.builder.Distribute.OnlyCopies // see leaveHome
		s.resumed = false
	}
	return err
}

// findPlace looks for the AMI in one place, under its final name or another.
func (s *session) findCopy(ctx context.Context, r *region, id *string, snapshots *[]string, to *replacement) (bool, error) {
	var images []ec2types.Image
	err := r.settled(ctx, func(ctx context.Context) (_ bool, err error) {
		images, err = r.imagesOfBuild(ctx, s.run.ID)
		return len(images) > 0, err
	})
	if err != nil || len(images) == 0 {
		return false, err
	}
	named := slices.IndexFunc(images, func(i ec2types.Image) bool { return s.builder.ReplaceAMI && aws.ToString(i.Name) == s.builder.AMIName })
	at := max(named, 0)
	*id, *snapshots = aws.ToString(images[at].ImageId), completeSnapshots(images[at])
	if named >= 0 {
		to.Freed, to.Done = true, len(images) == 1
		for i := range images {
			if i != named {
				to.Working = aws.ToString(images[i].ImageId) // is to go yet
			}
		}
	}
	return true, nil
}
