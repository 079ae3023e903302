package ec2

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// promote copies the AMI to all places and then makes it one that others may
// use, here and there. Called again, it does what is left to do. What cannot
// well be taken back waits until all copies are made, or the last attempt: the
// name of an old AMI, and protection, which comes last.
func (s *session) promote(ctx context.Context) error {
	d := s.builder.Distribute
	s.planPlaces()
	if s.resumed {
		if err := s.findPromoted(ctx); err != nil {
			return err
		}
	}
	s.Promotions++
	last := s.Promotions >= d.retry().Attempts
	failed := s.copyAll(ctx)
	if !s.Image.Removed {
		if err := s.endPulls(ctx); err != nil {
			return err
		}
	}
	if len(failed) > 0 && (d.AllOrNothing || !last) {
		return s.incomplete(failed)
	}
	failed = append(failed, s.inPlaces(ctx, s.takeCopyName)...)
	failed = append(failed, s.inPlaces(ctx, s.releaseCopy)...)
	if len(failed) > 0 && (d.AllOrNothing || !last) {
		return s.incomplete(failed)
	}
	stays := !s.Image.Removed && (!d.OnlyCopies || len(failed) > 0)
	if stays {
		if err := s.keepHome(ctx); err != nil {
			return err
		}
	}
	failed = append(failed, s.inPlaces(ctx, s.protectCopy)...)
	switch {
	case stays || s.Image.Removed:
	case len(failed) == 0:
		return s.leaveHome(ctx)
	case last:
		return errors.Join(s.keepHome(ctx), s.incomplete(failed))
	}
	return s.incomplete(failed)
}

// copyAll makes all copies that are not made yet, within their time.
func (s *session) copyAll(ctx context.Context) []*CopyError {
	timeout := s.builder.Distribute.timeout()
	ctx, stop := clock.WithTimeout(ctx, s.run.Clock, timeout)
	defer stop()
	return s.inPlaces(ctx, func(ctx context.Context, i int) error {
		err := s.copyTo(ctx, i)
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, context.DeadlineExceeded) {
			return fmt.Errorf("not copied within %v: %w", timeout, cause)
		}
		return err
	})
}

// keepHome makes the AMI ready where it was baked.
func (s *session) keepHome(ctx context.Context) error {
	if err := s.takeName(ctx, s.region, &s.Image.ID, &s.Image.Replaces); err != nil {
		return err
	}
	if err := s.releaseImage(ctx, s.region, s.Image.ID, s.Image.Snapshots); err != nil {
		return err
	}
	return s.region.protect(ctx, s.Image.ID, s.builder.Distribute.Protection)
}

// incomplete is the error of an AMI that did not get everywhere.
func (s *session) incomplete(failed []*CopyError) error {
	switch {
	case len(failed) == 0:
		return nil
	case s.builder.Distribute.AllOrNothing:
		return &DistributionError{Failed: failed}
	}
	return &bake.PartialError{Err: &DistributionError{Failed: failed}}
}

// planPlaces makes the record of the copies, if there is none yet.
func (s *session) planPlaces() {
	if s.Places == nil {
		s.Places = make([]place, len(s.builder.Distribute.Copies))
	}
}

// inPlaces does something in all places, many at once, and waits for all. A
// place that failed does not end the others.
func (s *session) inPlaces(ctx context.Context, do func(ctx context.Context, i int) error) []*CopyError {
	most := s.builder.Distribute.Parallel
	if most == 0 {
		most = defaultPlaces
	}
	errs := make([]error, len(s.Places))
	slots := make(chan struct{}, most)
	var all sync.WaitGroup
	for i := range s.Places {
		all.Go(func() {
			select {
			case slots <- struct{}{}:
				errs[i] = do(ctx, i)
				<-slots
			case <-ctx.Done():
				errs[i] = context.Cause(ctx)
			}
		})
	}
	all.Wait()
	var failed []*CopyError
	for i, err := range errs {
		if err != nil {
			place := &CopyError{Region: s.builder.Distribute.Copies[i].Region, Account: s.Places[i].Account, Err: err}
			s.run.Say("%s", place)
			failed = append(failed, place)
		}
	}
	return failed
}

func (s *session) releaseCopy(ctx context.Context, i int) error {
	p := &s.Places[i]
	if !p.Copied || p.Released || s.builder.ReplaceAMI && !p.Replaces.Done {
		return nil
	}
	err := s.releaseImage(ctx, s.placeRegion(i), p.ID, p.Snapshots)
	p.Released = err == nil
	return err
}

func (s *session) protectCopy(ctx context.Context, i int) error {
	p := &s.Places[i]
	if !p.Released || p.Done {
		return nil
	}
	err := s.placeRegion(i).protect(ctx, p.ID, s.builder.Distribute.Protection)
	p.Done = err == nil
	return err
}

// releaseImage gives permissions, sets when the AMI is deprecated, and takes
// away the tag that says that anyone may remove it.
func (s *session) releaseImage(ctx context.Context, r *region, id string, snapshots []string) error {
	d := s.builder.Distribute
	if err := r.permit(ctx, id, d.LaunchPermissions); err != nil {
		return err
	}
	if err := r.permitVolumes(ctx, snapshots, d.SnapshotPermissions); err != nil {
		return err
	}
	if at := d.deprecation(r.clock.Now()); !at.IsZero() {
		err := r.onceVisible(ctx, func(ctx context.Context) error {
			_, err := r.client.EnableImageDeprecation(ctx, &awsec2.EnableImageDeprecationInput{
				ImageId: aws.String(id), DeprecateAt: aws.Time(at.UTC()),
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return r.onceVisible(ctx, func(ctx context.Context) error {
		_, err := r.client.DeleteTags(ctx, &awsec2.DeleteTagsInput{
			Resources: append([]string{id}, snapshots...),
			Tags:      []ec2types.Tag{{Key: aws.String(TagExpires)}},
		})
		return err
	})
}

func (r *region) protect(ctx context.Context, id string, how Protection) error {
	if how == Unprotected {
		return nil
	}
	return r.onceVisible(ctx, func(ctx context.Context) error {
		_, err := r.client.EnableImageDeregistrationProtection(ctx, &awsec2.EnableImageDeregistrationProtectionInput{
			ImageId: aws.String(id), WithCooldown: aws.Bool(how == ProtectedWithCooldown),
		})
		return err
	})
}

// leaveHome removes the AMI from where it was baked.
func (s *session) leaveHome(ctx context.Context) error {
	if s.Image.Removed {
		return nil
	}
	if err := s.region.removeImage(ctx, s.Image.ID, s.Image.Snapshots); err != nil {
		return err
	}
	s.Image.Removed = true
	s.run.Removed("image", s.Image.ID)
	return nil
}

// unpromote removes the copies; of a build whose AMI stays only those that are
// not done. What the AMI replaced goes or comes back accordingly.
func (s *session) unpromote(ctx context.Context, outcome bake.Outcome) error {
	s.planPlaces()
	failed := s.inPlaces(ctx, func(ctx context.Context, i int) error {
		p, r := &s.Places[i], s.placeRegion(i)
		if outcome == bake.Succeeded && p.Done {
			return r.dropOld(ctx, s.run, &p.Replaces)
		}
		if err := s.removeCopy(ctx, i); err != nil {
			return err
		}
		return r.bringBack(ctx, s.run, &p.Replaces)
	})
	errs := (&DistributionError{Failed: failed}).Unwrap()
	switch {
	case outcome != bake.Succeeded:
		errs = append(errs, s.giveNameBack(ctx))
	case !s.Image.Removed:
		// An attempt may have failed to end the pulls.
		errs = append(errs, s.endPulls(ctx), s.region.dropOld(ctx, s.run, &s.Image.Replaces))
	}
	return errors.Join(errs...)
}

// giveNameBack brings back the AMI that was replaced where this one was baked.
// This one is removed for good by the undo of its create step.
func (s *session) giveNameBack(ctx context.Context) error {
	if s.Image.Replaces.OldID == "" {
		return nil
	}
	if err := s.region.deregisterBuild(ctx, s.run.ID, s.Image.ID); err != nil {
		return err
	}
	return s.region.bringBack(ctx, s.run, &s.Image.Replaces)
}
