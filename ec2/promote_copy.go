package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A copyRecord records the progress of one of Distribution.Copies.
type copyRecord struct {
	Region    string   `json:"region,omitempty"`
	Foreign   bool     `json:"foreign,omitempty"` // the Copy has a Cloud of its own
	Account   string   `json:"account,omitempty"` // if not the account of the Builder
	ID        string   `json:"id,omitempty"`
	Snapshots []string `json:"snapshots,omitempty"`
	Attempt   int      `json:"attempt,omitempty"`  // number of copies that EC2 began but did not complete
	Refused   bool     `json:"refused,omitempty"`  // EC2 refused to begin it
	Renamed   bool     `json:"renamed,omitempty"`  // another AMI has the default name there
	Doubtful  bool     `json:"doubtful,omitempty"` // the response of CopyImage was lost
	Broken    bool     `json:"broken,omitempty"`   // EC2 did not complete it
	Pulling   bool     `json:"pulling,omitempty"`  // the account may read the AMI
	Copied    bool     `json:"copied,omitempty"`
	Promoted  bool     `json:"promoted,omitempty"`
	Done      bool     `json:"done,omitempty"` // promoted and protected
	Removed   bool     `json:"removed,omitempty"`

	Replaces replacement `json:"replaces,omitzero"`
}

// A CopyError reports a region or account that the AMI could not be copied to or
// published in.
type CopyError struct {
	Region  string
	Account string // empty for the Builder's account, or if unknown
	Err     error
}

// Error returns the region, the account and the cause.
func (e *CopyError) Error() string {
	return destinationName(e.Account, e.Region) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *CopyError) Unwrap() error { return e.Err }

// A DistributionError reports the destinations that the AMI could not be copied to.
type DistributionError struct {
	Failed []*CopyError // in the order of Distribution.Copies
}

// Error returns the errors of the destinations, one per line.
func (e *DistributionError) Error() string { return errors.Join(e.Unwrap()...).Error() }

// Unwrap returns the errors of the destinations.
func (e *DistributionError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, failed := range e.Failed {
		errs = append(errs, failed)
	}
	return errs
}

// destinationName returns the name of a destination in AMI.IDs and in errors.
func destinationName(account, region string) string {
	if account == "" {
		return region
	}
	return account + "/" + region
}

// cloudOf returns the account of a copy.
func (b Builder) cloudOf(c Copy) *Cloud {
	if c.Cloud == nil {
		return b.Cloud
	}
	return c.Cloud
}

func (s *session) copyRegion(i int) *region {
	c := s.copyAt(i)
	return s.builder.cloudOf(c).region(c.Region)
}

// copyTo makes the i-th copy and waits until it is available. When retried, it
// continues where it failed.
func (s *session) copyTo(ctx context.Context, i int) error {
	c, p, r := s.builder.Distribute.Copies[i], &s.Copies[i], s.copyRegion(i)
	if p.Copied {
		return nil
	}
	if p.Broken {
		if err := r.discard(ctx, s, p.ID, p.Snapshots); err != nil {
			return err
		}
		*p = copyRecord{Region: p.Region, Foreign: p.Foreign, Account: p.Account, Attempt: p.Attempt + 1, Renamed: p.Renamed, Replaces: p.Replaces}
	}
	if p.ID == "" && p.Doubtful {
		if _, err := s.findCopy(ctx, r, &p.ID, &p.Snapshots, &p.Replaces); err != nil {
			return err
		}
		p.Doubtful = false
	}
	if p.ID == "" && s.builder.cloudOf(c) != s.builder.Cloud {
		if err := s.allowPull(ctx, c, p); err != nil {
			return err
		}
	}
	if p.ID == "" {
		if err := s.beginCopy(ctx, r, c, p); err != nil {
			return err
		}
	}
	err := r.waitImage(ctx, s, p.ID, func(i ec2types.Image) { p.Snapshots = snapshotsOf(i) })
	p.Broken = errors.Is(err, errImageFailed)
	if errors.Is(err, errUnknownID) {
		p.ID, p.Doubtful = "", true // the next attempt looks for its tag
	}
	p.Copied = err == nil
	if p.Broken {
		return needsKeys(err, s.copyKeys(ctx, c))
	}
	return err
}

// allowPull lets the account of a copy read the AMI until revokePulls.
func (s *session) allowPull(ctx context.Context, c Copy, p *copyRecord) (err error) {
	if p.Account, err = c.Cloud.Account(ctx); err != nil {
		return err
	}
	p.Pulling = true
	puller := Permissions{Accounts: []string{p.Account}}
	if err := s.region.permit(ctx, s.Image.ID, puller); err != nil {
		return err
	}
	return s.region.permitVolumes(ctx, s.Image.Snapshots, puller)
}

// revokePulls revokes the permissions of allowPull, except those that the accounts
// have by Distribution.
func (s *session) revokePulls(ctx context.Context) error {
	d := s.builder.Distribute
	var launch, volumes Permissions
	for _, p := range s.Copies {
		if !p.Pulling {
			continue
		}
		launch.Accounts = addUnlessKept(launch.Accounts, p.Account, d.LaunchPermissions)
		volumes.Accounts = addUnlessKept(volumes.Accounts, p.Account, d.SnapshotPermissions)
	}
	if err := s.region.forbid(ctx, s.Image.ID, launch); err != nil {
		return err
	}
	if err := s.region.forbidVolumes(ctx, s.Image.Snapshots, volumes); err != nil {
		return err
	}
	for i := range s.Copies {
		s.Copies[i].Pulling = false
	}
	return nil
}

func addUnlessKept(list []string, account string, keeps Permissions) []string {
	if slices.Contains(list, account) || slices.Contains(keeps.Accounts, account) {
		return list
	}
	return append(list, account)
}

// copyLimit is EC2's error code when too many copies into a region are in progress;
// fullEvery is the time between attempts then.
const (
	copyLimit = "ResourceLimitExceeded"
	fullEvery = 15 * time.Second
)

// beginCopy calls CopyImage. With its token, repeated calls, even from another
// process, return the first copy.
func (s *session) beginCopy(ctx context.Context, r *region, c Copy, p *copyRecord) error {
	in := &awsec2.CopyImageInput{
		ClientToken:   aws.String(s.run.ID + "-" + c.Region + "-" + strconv.Itoa(p.Attempt)),
		Name:          aws.String(s.workingName()),
		Description:   aws.String(s.description()),
		SourceImageId: aws.String(s.Image.ID), SourceRegion: aws.String(s.region.name),
		TagSpecifications: tagged(s.imageTags(), ec2types.ResourceTypeImage, ec2types.ResourceTypeSnapshot),
	}
	if c.KMSKey != "" {
		in.KmsKeyId, in.Encrypted = aws.String(c.KMSKey), aws.Bool(true)
	}
	if c.Encrypted != Inherit {
		in.Encrypted = aws.Bool(c.Encrypted == Enabled)
	}
	rename := func() {
		p.Renamed, in.Name = true, aws.String(s.uniqueName())
		in.ClientToken = aws.String(*in.ClientToken + "-renamed") // the request is another one
	}
	if p.Renamed {
		rename()
	}
	p.Refused = false
	return clock.WaitFor(ctx, r.clock, fullEvery, func(ctx context.Context) (bool, error) {
		err := r.onceVisible(ctx, func(ctx context.Context) error {
			out, err := r.client.CopyImage(ctx, in)
			if awsapi.Code(err) == duplicateName && s.builder.AMIName == "" && !p.Renamed {
				rename()
				out, err = r.client.CopyImage(ctx, in)
			}
			if err == nil {
				p.ID = aws.ToString(out.ImageId)
			}
			return err
		})
		switch {
		case awsapi.Code(err) == copyLimit:
			s.run.Say("too many copies in progress in %s; waiting", destinationName(p.Account, c.Region))
			return false, nil
		case awsapi.Code(err) == duplicateName && s.builder.AMIName != "":
			p.Refused = true
			return false, s.nameTaken(err)
		case err != nil:
			p.Refused = awsapi.Rejected(err)
			p.Doubtful = !p.Refused
			return false, err
		}
		s.run.Created("image", p.ID)
		s.run.Say("copying %s to %s as %s", s.Image.ID, destinationName(p.Account, c.Region), p.ID)
		return true, nil
	})
}

// removeCopy removes the i-th copy, complete or not, found by its id or its tag.
func (s *session) removeCopy(ctx context.Context, i int) error {
	p, r := &s.Copies[i], s.copyRegion(i)
	if p.Removed || p.ID == "" && p.Refused {
		return nil
	}
	if p.ID == "" {
		err := r.settled(ctx, func(ctx context.Context) (bool, error) {
			image, err := r.imageOfBuild(ctx, s.run.ID)
			p.ID = aws.ToString(image.ImageId)
			return p.ID != "", err
		})
		if err != nil {
			return err
		}
	}
	if p.ID == "" {
		return nil
	}
	if err := r.discard(ctx, s, p.ID, p.Snapshots); err != nil {
		return fmt.Errorf("%s: %w", destinationName(p.Account, r.name), err)
	}
	p.Removed = true
	s.run.Removed("image", p.ID)
	return nil
}
