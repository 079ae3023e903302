package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// promote promotes the AMI. Its error is a *bake.PermanentError if another attempt
// could not succeed.
func (s *session) promote(ctx context.Context) error {
	err := s.tryPromote(ctx)
	permanent := awsapi.Permanent(err)
	if d, ok := errors.AsType[*DistributionError](err); ok {
		permanent = s.hopeless(d.Failed)
	}
	if permanent {
		return &bake.PermanentError{Err: err}
	}
	return err
}

// hopeless reports whether copies failed, and all for reasons that another attempt does
// not change.
func (s *session) hopeless(failed []*CopyError) bool {
	return len(failed) > 0 && !slices.ContainsFunc(failed, func(e *CopyError) bool {
		return !awsapi.Permanent(e) && (s.builder.ReplaceAMI || awsapi.Code(e) != duplicateName)
	})
}

// tryPromote copies the AMI to all destinations and then promotes it everywhere. When
// retried, it continues where it failed. Irreversible changes wait until all copies
// exist or the last attempt has been made: first it assigns the name of a replaced
// AMI, and last it enables protection.
func (s *session) tryPromote(ctx context.Context) error {
	d := s.builder.Distribute
	if s.resumed {
		if err := s.findPromoted(ctx); err != nil {
			return err
		}
	}
	s.Promotions++
	failed := s.copyAll(ctx)
	last := s.Promotions >= d.retry().Attempts || s.hopeless(failed)
	if !s.Image.Removed {
		if err := s.revokePulls(ctx); err != nil {
			return err
		}
	}
	if len(failed) > 0 && (d.AllOrNothing || !last) {
		return s.incomplete(failed)
	}
	failed = append(failed, s.eachCopy(ctx, s.assignCopyName)...)
	failed = append(failed, s.eachCopy(ctx, s.promoteCopy)...)
	last = last || s.hopeless(failed)
	if len(failed) > 0 && (d.AllOrNothing || !last) {
		return s.incomplete(failed)
	}
	stays := !s.Image.Removed && (!d.OnlyCopies || len(failed) > 0)
	if stays {
		if err := s.promoteOriginal(ctx); err != nil {
			return err
		}
	}
	failed = append(failed, s.eachCopy(ctx, s.protectCopy)...)
	switch {
	case stays || s.Image.Removed:
	case len(failed) == 0:
		return s.removeOriginal(ctx)
	case last:
		return errors.Join(s.promoteOriginal(ctx), s.incomplete(failed))
	}
	return s.incomplete(failed)
}

// copyAll makes all copies that do not exist yet, within Distribution.Timeout.
func (s *session) copyAll(ctx context.Context) []*CopyError {
	timeout := s.builder.Distribute.timeout()
	ctx, stop := clock.WithTimeout(ctx, s.run.Clock, timeout)
	defer stop()
	return s.eachCopy(ctx, func(ctx context.Context, i int) error {
		err := s.copyTo(ctx, i)
		if cause := context.Cause(ctx); err != nil && errors.Is(cause, context.DeadlineExceeded) {
			return fmt.Errorf("copy not complete after %v: %w", timeout, cause)
		}
		return err
	})
}

// promoteOriginal promotes the AMI where it was baked.
func (s *session) promoteOriginal(ctx context.Context) error {
	if err := s.assignName(ctx, s.region, &s.Image.ID, &s.Image.Replaces); err != nil {
		return err
	}
	if err := s.promoteImage(ctx, s.region, s.Image.ID, s.Image.Snapshots); err != nil {
		return err
	}
	return s.region.protect(ctx, s.Image.ID, s.builder.Distribute.Protection)
}

// incomplete returns the error for the failed destinations; nil if there are none.
func (s *session) incomplete(failed []*CopyError) error {
	switch {
	case len(failed) == 0:
		return nil
	case s.builder.Distribute.AllOrNothing:
		return &DistributionError{Failed: failed}
	}
	return &bake.PartialError{Err: &DistributionError{Failed: failed}}
}

// initCopies creates the record of the copies. It is made with the session, so that a
// process that has only the record knows where copies may be.
func (s *session) initCopies() {
	for _, c := range s.builder.Distribute.Copies {
		s.Copies = append(s.Copies, copyRecord{Region: c.Region, Foreign: s.builder.cloudOf(c) != s.builder.Cloud})
	}
}

// eachCopy calls do for all copies, Distribution.Parallel at once, and waits for
// all. An error does not stop the others.
func (s *session) eachCopy(ctx context.Context, do func(ctx context.Context, i int) error) []*CopyError {
	most := s.builder.Distribute.Parallel
	if most == 0 {
		most = defaultPlaces
	}
	errs := make([]error, len(s.Copies))
	var all errgroup.Group
	all.SetLimit(most)
	for i := range s.Copies {
		all.Go(func() error {
			if errs[i] = context.Cause(ctx); errs[i] == nil {
				errs[i] = do(ctx, i)
			}
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs
	var failed []*CopyError
	for i, err := range errs {
		if err != nil {
			copyErr := &CopyError{Region: s.Copies[i].Region, Account: s.Copies[i].Account, Err: err}
			s.run.Say("%s", copyErr)
			failed = append(failed, copyErr)
		}
	}
	return failed
}

func (s *session) promoteCopy(ctx context.Context, i int) error {
	p := &s.Copies[i]
	if !p.Copied || p.Promoted || s.builder.ReplaceAMI && !p.Replaces.Done {
		return nil
	}
	err := s.promoteImage(ctx, s.copyRegion(i), p.ID, p.Snapshots)
	p.Promoted = err == nil
	return err
}

func (s *session) protectCopy(ctx context.Context, i int) error {
	p := &s.Copies[i]
	if !p.Promoted || p.Done {
		return nil
	}
	err := s.copyRegion(i).protect(ctx, p.ID, s.builder.Distribute.Protection)
	p.Done = err == nil
	return err
}

// promoteImage grants permissions, sets the deprecation time, and deletes the expiry
// tag.
func (s *session) promoteImage(ctx context.Context, r *region, id string, snapshots []string) error {
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

// removeOriginal removes the AMI from where it was baked.
func (s *session) removeOriginal(ctx context.Context) error {
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

// unpromote removes the copies, or only the incomplete ones if the build succeeded.
// At each destination it deletes the replaced AMI or restores it accordingly.
func (s *session) unpromote(ctx context.Context, outcome bake.Outcome) error {
	failed := s.eachCopy(ctx, func(ctx context.Context, i int) error {
		if err := s.lacksCloud(i); err != nil {
			return err
		}
		p, r := &s.Copies[i], s.copyRegion(i)
		if outcome == bake.Succeeded && p.Done {
			return r.deleteOld(ctx, s.run, &p.Replaces)
		}
		if err := s.removeCopy(ctx, i); err != nil {
			return err
		}
		return r.restoreOld(ctx, s.run, &p.Replaces)
	})
	errs := (&DistributionError{Failed: failed}).Unwrap()
	switch {
	case outcome != bake.Succeeded:
		errs = append(errs, s.restoreName(ctx))
	case !s.Image.Removed:
		// An attempt may have failed to revoke the pulls.
		errs = append(errs, s.revokePulls(ctx), s.region.deleteOld(ctx, s.run, &s.Image.Replaces))
	}
	return errors.Join(errs...)
}

// restoreName restores the AMI that was replaced where this one was baked. The undo
// of the create step removes this one's snapshots.
func (s *session) restoreName(ctx context.Context) error {
	if s.Image.Replaces.OldID == "" {
		return nil
	}
	if err := s.region.deregisterBuild(ctx, s, s.Image.ID); err != nil {
		return err
	}
	return s.region.restoreOld(ctx, s.run, &s.Image.Replaces)
}
