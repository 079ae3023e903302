package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// An OrphanResult is what became of an OrphanPlan: every snapshot that was to
// be deleted, target by target.
type OrphanResult struct {
	Started   time.Time             `json:"started"`
	Finished  time.Time             `json:"finished"`
	Snapshots []OrphanSnapshotState `json:"snapshots"`
}

// An OrphanSnapshotState is what became of one snapshot.
type OrphanSnapshotState struct {
	Account string `json:"account,omitempty"`
	Region  string `json:"region"`
	SnapshotResult
}

// Count counts the snapshots with this outcome.
func (r *OrphanResult) Count(o Outcome) int {
	n := 0
	for i := range r.Snapshots {
		if r.Snapshots[i].Outcome == o {
			n++
		}
	}
	return n
}

// PlanOrphans looks for snapshots that nothing has a use for, in the targets
// of the cleaner. Its Policy plays no part. It changes nothing.
func (c *Cleaner) PlanOrphans(ctx context.Context, policy *OrphanPolicy) (*OrphanPlan, error) {
	inv, err := ReadSnapshots(ctx, c.Targets, policy, c.clock())
	if inv == nil {
		return nil, err
	}
	plan, evalErr := policy.Evaluate(inv)
	return plan, errors.Join(err, evalErr)
}

// ApplyOrphans deletes the snapshots of a plan that PlanOrphans made by the
// same policy. Each is read again just before, with the images that have it,
// and what launch templates attach is read again before the first; what differs
// from the plan is skipped, what is gone counts as done. An error of one
// snapshot does not stop the others. It waits as Apply does.
func (c *Cleaner) ApplyOrphans(ctx context.Context, policy *OrphanPolicy, plan *OrphanPlan) (*OrphanResult, error) {
	if err := errors.Join(validateTargets(c.Targets), policy.Validate()); err != nil {
		return nil, err
	}
	switch {
	case plan.Version != planVersion:
		return nil, bake.Invalid("OrphanPlan.Version", "is %d; this version reads %d", plan.Version, planVersion)
	case !c.clock().Now().Before(plan.Expires):
		return nil, fmt.Errorf("%w: at %s", ErrExpired, stampText(plan.Expires))
	case plan.Policy != policy.Fingerprint():
		return nil, ErrOtherPolicy
	}
	result := &OrphanResult{Started: c.clock().Now().UTC()}
	runs := make([]*orphanRun, len(plan.Targets))
	var wg sync.WaitGroup
	for i := range plan.Targets {
		runs[i] = &orphanRun{cleaner: c, made: plan.Made, plan: &plan.Targets[i]}
		wg.Go(func() { runs[i].apply(ctx) })
	}
	wg.Wait()
	var errs []error
	for _, run := range runs {
		result.Snapshots = append(result.Snapshots, run.results...)
		errs = append(errs, run.errs...)
	}
	if result.Count(NotTried) > 0 && ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	result.Finished = c.clock().Now().UTC()
	return result, errors.Join(errs...)
}

// An orphanRun deletes the orphans of one target.
type orphanRun struct {
	cleaner  *Cleaner
	made     time.Time // the plan
	plan     *OrphanTarget
	attached map[string]*Snapshot // those of the plan with what attaches them now
	results  []OrphanSnapshotState
	errs     []error
}

func (r *orphanRun) apply(ctx context.Context) {
	target, stop := r.begin(ctx)
	for _, s := range r.plan.removals() {
		res := OrphanSnapshotState{Account: r.plan.Account, Region: r.plan.Region, SnapshotResult: SnapshotResult{ID: s.ID, Outcome: NotTried}}
		if stop == nil && ctx.Err() == nil {
			if err := r.remove(ctx, target.Client, s, &res.SnapshotResult); err != nil && ctx.Err() == nil {
				res.Outcome, res.Detail = Failed, err.Error()
				r.errs = append(r.errs, &TargetError{r.plan.Account, r.plan.Region, fmt.Errorf("snapshot %s: %w", s.ID, err)})
				if meaningOf(err) == hopeless {
					stop = err
				}
			}
		}
		r.cleaner.log().LogAttrs(ctx, slog.LevelInfo, "amicleanup orphan",
			slog.String("region", r.plan.Region), slog.String("account", r.plan.Account),
			slog.String("snapshot", res.ID), slog.String("outcome", string(res.Outcome)), slog.String("detail", res.Detail))
		r.results = append(r.results, res)
	}
}

func (r *orphanRun) begin(ctx context.Context) (Target, error) {
	if len(r.plan.removals()) == 0 {
		return Target{}, nil
	}
	target, ok := r.cleaner.target(r.plan.Account, r.plan.Region)
	err := errors.New("the plan is for a target that the cleaner does not have")
	if ok {
		err = r.prepare(ctx, target.Client)
	}
	if err != nil {
		r.errs = append(r.errs, &TargetError{r.plan.Account, r.plan.Region, err})
	}
	return target, err
}

// prepare waits until EC2 shows what there was when the plan was made, and reads
// what the removal of a snapshot does not ask for by itself.
func (r *orphanRun) prepare(ctx context.Context, client Client) error {
	if err := r.cleaner.settled(ctx, r.made); err != nil {
		return err
	}
	owner, err := ownerOf(ctx, client)
	switch {
	case err != nil:
		return err
	case owner != "" && owner != r.plan.Owner:
		return fmt.Errorf("%w: %s, not %s", ErrOtherAccount, owner, r.plan.Owner)
	}
	r.attached = map[string]*Snapshot{}
	for _, s := range r.plan.removals() {
		r.attached[s.ID] = &Snapshot{ID: s.ID}
	}
	if err := readAttached(ctx, client, r.attached); err != nil {
		return fmt.Errorf("launch templates: %w", err)
	}
	return nil
}

func (r *orphanRun) remove(ctx context.Context, client Client, planned *Snapshot, res *SnapshotResult) error {
	found, _, err := readSnapshots(ctx, client, ec2types.Filter{Name: aws.String("snapshot-id"), Values: []string{planned.ID}})
	if err != nil {
		return fmt.Errorf("read again: %w", err)
	}
	if len(found) == 0 {
		res.Outcome = Gone
		return nil
	}
	images, err := readImages(ctx, client, ec2types.Filter{Name: aws.String("block-device-mapping.snapshot-id"), Values: []string{planned.ID}})
	if err != nil {
		return fmt.Errorf("read which images have it: %w", err)
	}
	if i := slices.IndexFunc(images, func(img Image) bool { return slices.Contains(img.Snapshots, planned.ID) }); i >= 0 {
		res.Outcome, res.Detail = Skipped, images[i].ID+" has it now"
		return nil
	}
	if by := r.attached[planned.ID].UsedBy; len(by) > 0 {
		res.Outcome, res.Detail = Skipped, by[0]+" attaches it now"
		return nil
	}
	if why := planned.drift(&found[0]); why != "" {
		res.Outcome, res.Detail = Skipped, why
		return nil
	}
	_, err = client.DeleteSnapshot(context.WithoutCancel(ctx), &awsec2.DeleteSnapshotInput{SnapshotId: aws.String(planned.ID)})
	switch meaningOf(err) {
	case gone:
		res.Outcome = Gone
		return nil
	case inUse, refused:
		res.Outcome, res.Detail = Skipped, err.Error()
		return nil
	default:
		if err == nil {
			res.Outcome = Removed
		}
		return err
	}
}
