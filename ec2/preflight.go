package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// checkDestinations checks, before anything is created, that the AMI can reach all
// destinations: that regions respond and roles can be assumed, that its name is
// free, and that keys, launch templates, instance types and the instance profile
// exist. It reports all problems, joined. Concurrent builds share the lookups.
func (s *session) checkDestinations(ctx context.Context) error {
	var all sync.WaitGroup
	checks := s.preflightChecks()
	errs := make([]error, len(checks))
	for i, check := range checks {
		all.Go(func() { errs[i] = check(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// preflightChecks returns the checks that the image needs.
func (s *session) preflightChecks() []func(context.Context) error {
	var checks []func(context.Context) error
	key := func(field, key string) {
		if key != "" {
			home := &CopyError{Region: s.region.name}
			checks = append(checks, func(ctx context.Context) error { return s.checkKey(ctx, s.region, home, field, key) })
		}
	}
	b := s.builder
	if b.AMIName != "" {
		checks = append(checks, func(ctx context.Context) error {
			return s.checkName(ctx, s.region, &CopyError{Region: s.region.name})
		})
	}
	if b.InstanceProfile != "" {
		checks = append(checks, s.checkInstanceProfile)
	}
	if len(b.InstanceTypes) > 0 {
		checks = append(checks, s.checkInstanceTypes)
	}
	if b.SSH.KeyPair != "" {
		checks = append(checks, s.checkKeyPair)
	}
	if d := b.disk(); d != nil {
		key("Disk.KMSKey", d.KMSKey)
	}
	for _, d := range b.BlockDevices {
		key("Builder.BlockDevices["+d.Device+"].KMSKey", d.KMSKey)
	}
	for i := range b.Distribute.Copies {
		checks = append(checks, func(ctx context.Context) error { return s.checkCopy(ctx, i) })
	}
	if s.image.ProvisionOnly {
		return checks
	}
	if b.Distribute.shares() || b.isPulled() {
		checks = append(checks, s.checkEncryption)
	}
	if !b.Distribute.OnlyCopies {
		checks = append(checks, func(ctx context.Context) error {
			return s.checkSharing(ctx, s.region, &CopyError{Region: s.region.name})
		})
	}
	for _, p := range s.image.Publishers {
		checked, ok := bake.As[PreflightPublisher](p)
		if !ok {
			continue
		}
		for _, at := range b.publishesTo(p) {
			checks = append(checks, func(ctx context.Context) error { return s.preflight(ctx, checked, at) })
		}
	}
	return checks
}

// checkCopy checks that the region of a copy responds to its account, and then that
// the copy can be made.
func (s *session) checkCopy(ctx context.Context, i int) error {
	c, r := s.builder.Distribute.Copies[i], s.copyRegion(i)
	field := fmt.Sprintf("Builder.Distribute.Copies[%d]", c.index)
	place, err := s.errorAt(ctx, Destination{c.Region, s.builder.cloudOf(c)})
	if err != nil {
		return place.with(bake.Invalid(field+".Cloud", "%w", err))
	}
	if err := s.checkSameAccount(ctx, i); err != nil {
		return place.with(bake.Invalid(field+".Cloud", "%w", err))
	}
	_, err = r.lookups.answers.get(ctx, "", func(ctx context.Context) (bool, error) {
		_, err := r.named(ctx, s.run.Image)
		return err == nil, err
	})
	if err != nil {
		return place.with(bake.Invalid(field+".Region", "check the region's name, and that the account has enabled it: %w", err))
	}
	errs := []error{s.checkSharing(ctx, r, place)}
	if s.builder.AMIName != "" {
		errs = append(errs, s.checkName(ctx, r, place))
	}
	if c.KMSKey != "" {
		errs = append(errs, s.checkKey(ctx, r, place, field+".KMSKey", c.KMSKey))
	}
	return errors.Join(errs...)
}

// checkSameAccount reports a copy whose role is in the same account as the bake or
// another copy in the same region.
func (s *session) checkSameAccount(ctx context.Context, i int) error {
	all := s.builder.allDestinations()
	this := all[i+1]
	for _, other := range all[:i+1] {
		if other.Region != this.Region || other.Cloud == this.Cloud {
			continue
		}
		account, err := this.Cloud.Account(ctx)
		if err != nil {
			return err
		}
		taken, err := other.Cloud.Account(ctx)
		if err != nil {
			return err
		}
		if account == taken {
			return fmt.Errorf("AMI is copied to %s twice", destinationName(account, this.Region))
		}
	}
	return nil
}

// checkName checks that the AMI's name is free or can be replaced.
func (s *session) checkName(ctx context.Context, r *region, place *CopyError) error {
	var old ec2types.Image
	taken := false
	err := r.names.Wait(ctx, s.builder.AMIName, func(i ec2types.Image, found bool) (bool, error) {
		old, taken = i, found
		return true, nil
	})
	id := aws.ToString(old.ImageId)
	switch protection := aws.ToString(old.DeregistrationProtection); {
	case err != nil:
		return place.with(err)
	case !taken || tagMap(old.Tags)[TagBuild] == s.run.ID: // of an instance that was reclaimed
		return nil
	case !s.builder.ReplaceAMI:
		return place.with(bake.Invalid("Builder.AMIName", "%q is already the name of %s", s.builder.AMIName, id))
	case protection != "" && protection != "disabled":
		return place.with(bake.Invalid("Builder.ReplaceAMI", "%s has deregistration protection: %s", id, protection))
	}
	return nil
}

// checkNameAgain reports that another AMI got the name since the first check, before
// the instance is stopped and snapshots are made. If the lookup fails, EC2 refuses the
// name later.
func (s *session) checkNameAgain(ctx context.Context) error {
	err := s.checkName(ctx, s.region, &CopyError{Region: s.region.name})
	if _, taken := errors.AsType[*bake.FieldError](err); ctx.Err() != nil || err != nil && !taken {
		return s.unchecked(ctx, "Builder.AMIName again", err)
	}
	return err
}

// fetchNamed returns images of the account by name.
func (r *region) fetchNamed(ctx context.Context, names []string) (map[string]ec2types.Image, error) {
	found := make(map[string]ec2types.Image, len(names))
	for some := range slices.Chunk(names, mostFilterValues) {
		images, err := r.named(ctx, some...)
		if err != nil {
			return nil, err
		}
		for _, i := range images {
			found[aws.ToString(i.Name)] = i
		}
	}
	return found, nil
}

// checkKey checks that a KMS key exists and can encrypt volumes.
func (s *session) checkKey(ctx context.Context, r *region, place *CopyError, field, key string) error {
	facts, err := r.describeKey(ctx, key)
	switch {
	case err != nil || ctx.Err() != nil:
		return s.unchecked(ctx, field+" "+key+" in "+place.Region, err)
	case facts.problem != "":
		return place.with(bake.Invalid(field, "%s: %s", key, facts.problem))
	}
	return nil
}

// checkInstanceProfile checks that the instance profile exists.
func (s *session) checkInstanceProfile(ctx context.Context) error {
	profile := s.builder.InstanceProfile
	name := profile[strings.LastIndexByte(profile, '/')+1:] // of an ARN
	exists, err := s.region.lookups.answers.get(ctx, "profile "+name, func(ctx context.Context) (bool, error) {
		_, err := s.region.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: aws.String(name)})
		if awsapi.Code(err) == "NoSuchEntity" {
			return false, nil
		}
		return err == nil, err
	})
	switch {
	case err != nil || ctx.Err() != nil:
		return s.unchecked(ctx, "Builder.InstanceProfile "+profile, err)
	case !exists:
		return bake.Invalid("Builder.InstanceProfile", "%s not found", profile)
	}
	return nil
}

// unchecked says what a failed lookup could not check: a bake needs no permission to
// describe what it uses. It returns the cause if ctx has ended.
func (s *session) unchecked(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.run.Say("cannot check %s: %v", what, err)
	return nil
}

// preflight calls a publisher's Preflight for a destination.
func (s *session) preflight(ctx context.Context, p PreflightPublisher, at Destination) error {
	place, err := s.errorAt(ctx, at)
	if err != nil {
		return place.with(fmt.Errorf("%s: %w", bake.Describe(p), err))
	}
	if err := p.Preflight(ctx, at); err != nil {
		return place.with(err)
	}
	return nil
}

// errorAt returns a CopyError for a destination, without a cause.
func (s *session) errorAt(ctx context.Context, at Destination) (*CopyError, error) {
	place := &CopyError{Region: at.Region}
	if at.Cloud == s.builder.Cloud {
		return place, nil
	}
	var err error
	place.Account, err = at.Cloud.Account(ctx)
	return place, err
}

// with returns the error with a cause.
func (e *CopyError) with(err error) error { return &CopyError{e.Region, e.Account, err} }
