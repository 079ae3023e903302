package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bakestone-go/bakestone/bake"
)

// A Reaper finds and removes what dead builds left behind, by their tags alone: it
// needs neither a record nor the definition of an image. Everything that a build
// creates has the tag [TagExpires] until the build removes it or, for AMIs and their
// snapshots, promotes it. So what still has the tag after that time belongs to a build
// whose process died.
//
//	reaper := &ec2.Reaper{Clouds: []*ec2.Cloud{cloud}, Regions: []string{"eu-west-1", "us-east-1"}}
//	plan, err := reaper.Plan(ctx)
//	fmt.Print(plan)
//	…
//	result, err := reaper.Apply(ctx, plan)
//
// A Reaper removes instances, volumes, network interfaces, security groups, instance
// profiles, roles with their policies, AMIs and snapshots. AWS's time decides what has
// expired, as the responses of its API tell it: a wrong clock of this machine removes
// nothing. It never removes a promoted AMI, or a snapshot that one uses.
//
// Run it by a schedule, as the example cleanup does, or call [Reaper.Reap] before a
// bake. Several may run at once.
type Reaper struct {
	// Clouds are the accounts. At least one is required. Several Clouds of one
	// account count as one.
	Clouds []*Cloud

	// Regions are the regions to read in every account. Roles and instance profiles
	// belong to no region and are always read. If empty, each Cloud's own region is
	// read.
	Regions []string

	// Living reports whether a process is still at work on a build, given by its id.
	// Nothing of such a build is removed, although it has expired. If Living fails,
	// the build's resources are kept, and Plan or Apply returns the error. bake.Living
	// asks the leases of a bake.Store. If nil, no build outlives its expiry: bake.Options.Lifetime must then be longer than the
	// longest bake.
	Living func(ctx context.Context, build string) (bool, error)

	// Grace is how long after its expiry a resource is left alone, since the clocks of
	// baking hosts, which set the tag, may differ from AWS's. Zero means ten minutes.
	Grace time.Duration
}

const (
	defaultGrace = 10 * time.Minute
	reapPlaces   = 8 // read and cleaned at once
)

// Validate reports missing and invalid fields, joined.
func (r *Reaper) Validate() error {
	var errs []error
	if len(r.Clouds) == 0 {
		errs = append(errs, bake.Invalid("Reaper.Clouds", "is required"))
	}
	if slices.Contains(r.Clouds, nil) {
		errs = append(errs, bake.Invalid("Reaper.Clouds", "contains nil"))
	}
	if slices.Contains(r.Regions, "") {
		errs = append(errs, bake.Invalid("Reaper.Regions", "contains an empty name"))
	}
	if r.Grace < 0 {
		errs = append(errs, bake.Invalid("Reaper.Grace", "must not be negative"))
	}
	return errors.Join(errs...)
}

func (r *Reaper) grace() time.Duration {
	if r.Grace == 0 {
		return defaultGrace
	}
	return r.Grace
}

// Plan finds the resources that have expired. It changes nothing. Its error joins what
// could not be read, with the places; the plan has the rest.
func (r *Reaper) Plan(ctx context.Context) (*ReapPlan, error) {
	places, err := r.places(ctx)
	plan := &ReapPlan{}
	failed := eachPlace(places, func(p *reapPlace) error {
		items, at, err := p.plan(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		plan.Items = append(plan.Items, items...)
		if !at.IsZero() && (plan.At.IsZero() || at.Before(plan.At)) {
			plan.At = at
		}
		return err
	})
	plan.sort()
	return plan, errors.Join(err, failed)
}

// Apply removes what the plan says. It reads each resource again shortly before, and
// keeps one that has been promoted, used or prolonged since, so an old or edited plan
// removes less, never more. Its error joins a [*ReapError] for each resource that
// could not be removed and the errors of places that could not be read; the rest is
// removed nevertheless. When ctx ends, Apply stops between two removals.
func (r *Reaper) Apply(ctx context.Context, plan *ReapPlan) (*ReapResult, error) {
	result := &ReapResult{}
	if plan == nil {
		return result, bake.Invalid("plan", "is required")
	}
	places, err := r.places(ctx)
	apply := func(p *reapPlace) error {
		removed, kept, err := p.apply(ctx, plan)
		p.mu.Lock()
		defer p.mu.Unlock()
		result.Removed, result.Kept = append(result.Removed, removed...), append(result.Kept, kept...)
		return err
	}
	// Roles may be in use by instances, so they come last.
	regional := eachPlace(slices.DeleteFunc(slices.Clone(places), (*reapPlace).global), apply)
	global := eachPlace(slices.DeleteFunc(places, func(p *reapPlace) bool { return !p.global() }), apply)
	sortLeftovers(result.Removed)
	sortLeftovers(result.Kept)
	return result, errors.Join(err, regional, global)
}

// Reap plans and applies, for instance before a bake. Its error joins those of both.
func (r *Reaper) Reap(ctx context.Context) (*ReapResult, error) {
	plan, unread := r.Plan(ctx)
	if plan == nil || len(plan.Items) == 0 {
		return &ReapResult{}, unread
	}
	result, err := r.Apply(ctx, plan)
	return result, errors.Join(unread, err)
}

// places returns the regions of all accounts, and for each account one without a
// region for IAM. Its error names the accounts that could not be identified.
func (r *Reaper) places(ctx context.Context) ([]*reapPlace, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	var places []*reapPlace
	var errs []error
	seen := map[string]bool{}
	mu := new(sync.Mutex)
	for i, cloud := range r.Clouds {
		account, err := cloud.Account(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("Reaper.Clouds[%d]: identify the account: %w", i, err))
			continue
		}
		regions := r.Regions
		if len(regions) == 0 {
			regions = []string{cloud.Region()}
		}
		for _, name := range append([]string{""}, regions...) {
			if key := account + " " + name; !seen[key] {
				seen[key] = true
				places = append(places, &reapPlace{reaper: r, account: account, name: name, region: cloud.region(name), mu: mu})
			}
		}
	}
	return places, errors.Join(errs...)
}

// eachPlace calls do for all places, some at once. An error does not stop the others.
func eachPlace(places []*reapPlace, do func(*reapPlace) error) error {
	errs := make([]error, len(places))
	var all errgroup.Group
	all.SetLimit(reapPlaces)
	for i, p := range places {
		all.Go(func() error {
			if err := do(p); err != nil {
				errs[i] = fmt.Errorf("%s: %w", placeName(p.account, p.name), err)
			}
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs
	return errors.Join(errs...)
}
