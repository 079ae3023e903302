package ec2

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A process may die after a step and before the step is recorded; the process that
// resumes the build then repeats the step. Not all EC2 calls are idempotent, so a
// resumed session first looks for the resource its first step may already have
// created, by the build's tag.

// UnmarshalJSON restores the session from a record.
func (s *session) UnmarshalJSON(record []byte) error {
	type fields session
	err := json.Unmarshal(record, (*fields)(s))
	s.resumed, s.restored = s.Source.ID != "", true
	if s.Region != "" && s.Region != s.region.name {
		s.region = s.builder.Cloud.region(s.Region)
	}
	return err
}

// undoSteps returns the steps of Capture of any definition that leave something to undo.
func (s *session) undoSteps() []bake.Step {
	return []bake.Step{
		{Name: "snapshot volumes", Undo: s.discardSnapshots},
		{Name: uploadStep, Undo: s.discardSnapshots},
		{Name: "create image", Undo: s.discardImage},
		{Name: "register image", Undo: s.discardImage},
	}
}

// checkAccount returns an error if the Builder's credentials are not for the account of
// the record: there, nothing of the build would be found, as if it were gone already.
func (s *session) checkAccount(ctx context.Context) error {
	if !s.restored || s.Account == "" {
		return nil
	}
	account, err := s.builder.Cloud.Account(ctx)
	if err != nil {
		return fmt.Errorf("identify the account: %w", err)
	}
	if account != s.Account {
		return bake.Invalid("Builder.Cloud", "has credentials for account %s, but the record is of a build in account %s", account, s.Account)
	}
	return nil
}

// inAccount returns the steps, which check the account first.
func (s *session) inAccount(steps ...bake.Step) []bake.Step {
	for i := range steps {
		step := &steps[i]
		if do := step.Do; do != nil {
			step.Do = func(ctx context.Context) error {
				if err := s.checkAccount(ctx); err != nil {
					return err
				}
				return do(ctx)
			}
		}
		if undo := step.Undo; undo != nil {
			step.Undo = func(ctx context.Context, outcome bake.Outcome) error {
				if err := s.checkAccount(ctx); err != nil {
					return err
				}
				return undo(ctx, outcome)
			}
		}
	}
	return steps
}

// copyAt returns the Copy of the i-th recorded copy. With the Builder of another
// definition it is one that leads there.
func (s *session) copyAt(i int) Copy {
	p, copies := s.Copies[i], s.builder.Distribute.Copies
	same := func(c Copy) bool { return c.Region == p.Region && s.foreign(c) == p.Foreign }
	if i < len(copies) && (same(copies[i]) || p.Region == "") {
		return copies[i]
	}
	if at := slices.IndexFunc(copies, same); at >= 0 {
		return copies[at]
	}
	return Copy{Region: p.Region}
}

func (s *session) foreign(c Copy) bool { return s.builder.cloudOf(c) != s.builder.Cloud }

// lacksCloud returns an error if the Builder has no credentials for the account of the
// i-th copy.
func (s *session) lacksCloud(i int) error {
	if p := s.Copies[i]; p.Foreign && !s.foreign(s.copyAt(i)) {
		return bake.Invalid("Builder.Distribute.Copies", "a copy to another account in %s was recorded: a Copy with its Region and Cloud is required to remove it", p.Region)
	}
	return nil
}

// unlessFound returns a step that calls do unless find reports that another process
// has already done it. Only the first such step of a resumed session calls find: no
// later step has been begun before.
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
		s.reopened = true
		defer func() { s.reopened = false }()
		return do(ctx)
	}
}

// findLaunched looks for a pending or running instance of the build.
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

// findStopping reports whether the instance is stopped or stopping.
func (s *session) findStopping(ctx context.Context) (bool, error) {
	found, err := s.region.fetchInstances(ctx, []string{s.Instance.ID})
	if err != nil {
		return false, err
	}
	state := found[s.Instance.ID].State
	s.Instance.Stopping = state != nil && (state.Name == ec2types.InstanceStateNameStopping || state.Name == ec2types.InstanceStateNameStopped)
	return s.Instance.Stopping, nil
}

// findSnapshots looks for snapshots of all volumes of the instance.
func (s *session) findSnapshots(ctx context.Context) (bool, error) {
	found, err := s.region.fetchSnapshots(ctx, []string{s.run.ID})
	if err != nil || len(found[s.run.ID]) == 0 {
		return false, err
	}
	if err := s.readMachine(ctx); err != nil {
		return false, err
	}
	s.nameImage()
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

// adopt records an image as the build's AMI.
func (s *session) adopt(image ec2types.Image) {
	s.Image.ID, s.Image.Snapshots, s.Image.Name = aws.ToString(image.ImageId), completeSnapshots(image), aws.ToString(image.Name)
	if stamp, err := strconv.ParseInt(tagMap(image.Tags)[TagTimestamp], 10, 64); err == nil {
		s.Image.Baked = time.Unix(stamp, 0)
	}
}

// findPromoted looks up how far another process has come with the copies and their
// names.
func (s *session) findPromoted(ctx context.Context) error {
	failed := s.eachCopy(ctx, func(ctx context.Context, i int) (err error) {
		c, p := s.builder.Distribute.Copies[i], &s.Copies[i]
		if s.builder.cloudOf(c) != s.builder.Cloud {
			if p.Account, err = c.Cloud.Account(ctx); err != nil {
				return err
			}
			p.Pulling = true // perhaps no longer; revoking twice is harmless
		}
		_, err = s.findCopy(ctx, s.copyRegion(i), &p.ID, &p.Snapshots, &p.Replaces)
		return err
	})
	if len(failed) > 0 {
		return &DistributionError{Failed: failed}
	}
	there, err := s.findCopy(ctx, s.region, &s.Image.ID, &s.Image.Snapshots, &s.Image.Replaces)
	if err == nil {
		s.Image.Removed = !there && s.builder.Distribute.OnlyCopies // see removeOriginal
		s.resumed = false
	}
	return err
}

// findCopy looks for the AMI at one destination, under its final or its working name.
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
				to.Working = aws.ToString(images[i].ImageId) // still to be deregistered
			}
		}
	}
	return true, nil
}
