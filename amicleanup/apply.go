package amicleanup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Apply carries out a plan. It reads all targets and decides again by its own
// policy, and changes only images and snapshots for which the plan and the new
// decision agree on the action. Limits apply to its changes. Nothing else in the
// plan is believed: editing it can strike out changes, but not add any.
//
// An image that has changed since the plan was made, or that a rule now keeps, is
// skipped, together with the rest of its release; the result says why. Images are
// read once more shortly before they are changed, and references to images once a
// minute. Applying a plan twice does no more than applying it once.
//
// Apply first waits until SettleTime has passed since the plan was made, unless
// there is nothing to do. It returns a result besides an error, unless the plan as
// a whole cannot be applied: because it has expired ([ErrExpired]), or is of an
// unknown version.
func (c *Cleaner) Apply(ctx context.Context, plan *Plan) (*Result, error) {
	if err := c.applicable(plan); err != nil {
		return nil, err
	}
	result := &Result{Started: c.clock().Now().UTC()}
	runs := make([]*targetRun, len(plan.Targets))
	for i := range runs {
		runs[i] = c.newRun(&plan.Targets[i])
	}
	approved := approve(plan)
	var errs []error
	if len(approved.items)+len(approved.snapshots) > 0 && c.settled(ctx, plan.Made) == nil {
		inv := c.read(ctx, approved)
		if ctx.Err() == nil {
			errs = append(errs, inv.errorsFor(plan)...)
		}
		c.apply(ctx, runs, c.Policy.evaluate(inv, approved, 0), inv)
	}
	for _, run := range runs {
		result.Images = append(result.Images, run.results...)
		result.Snapshots = append(result.Snapshots, run.snapshots...)
		errs = append(errs, run.errs...)
	}
	if result.has(NotTried) && ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	result.Finished = c.clock().Now().UTC()
	return result, errors.Join(errs...)
}

// applicable returns why the plan as a whole cannot be applied.
func (c *Cleaner) applicable(plan *Plan) error {
	if err := c.Validate(); err != nil {
		return err
	}
	now := c.clock().Now()
	age := c.Policy.PlanAge
	if age == 0 {
		age = defaultPlanAge
	}
	switch {
	case plan.Version != planVersion:
		return bake.Invalid("Plan.Version", "unknown version %d, want %d", plan.Version, planVersion)
	case !now.Before(plan.Expires) || !now.Before(plan.Made.Add(age)):
		return fmt.Errorf("%w at %s", ErrExpired, timeText(plan.Expires))
	}
	return nil
}

// errorsFor returns the errors of targets in regions where the plan changes
// something.
func (inv *inventory) errorsFor(plan *Plan) []error {
	regions := map[string]bool{}
	for i := range plan.Targets {
		t := &plan.Targets[i]
		changes := len(t.changes()) > 0 || slices.ContainsFunc(t.Snapshots, func(s SnapshotItem) bool { return s.Action == Remove })
		regions[t.Region] = regions[t.Region] || changes
	}
	var errs []error
	for i := range inv.targets {
		if regions[inv.targets[i].target.region()] {
			errs = append(errs, inv.targets[i].errs...)
		}
	}
	return errs
}

// apply does what both decisions say.
func (c *Cleaner) apply(ctx context.Context, runs []*targetRun, now *Plan, inv *inventory) {
	regions := map[string]*regionUse{}
	going, depth := map[string]bool{}, c.Policy.needs().Parents
	for _, run := range runs {
		for i := range now.Targets {
			if t := &now.Targets[i]; t.Account == run.stored.Account && t.Region == run.stored.Region {
				run.begin(t, &inv.targets[i])
			}
		}
		if run.now == nil {
			run.fail(errors.New("target is not configured"))
		}
		region := run.stored.Region
		if regions[region] == nil {
			regions[region] = &regionUse{cleaner: c, region: region, going: going, reading: newTurn(), begun: inv.time, at: inv.time}
		}
		run.region, run.readAt = regions[region], inv.time
		for _, item := range run.items {
			going[item.Image.ID] = true
		}
		if run.now == nil {
			continue
		}
		for i := range run.now.Items {
			if item := &run.now.Items[i]; item.generation > 0 && item.generation >= depth {
				going[item.Image.ID] = true // its parents may go
			}
		}
	}
	each(len(runs), func(i int) { runs[i].apply(ctx) })
	each(len(runs), func(i int) { runs[i].removeOrphans(ctx) })
}

// A targetRun applies the plan of one target.
type targetRun struct {
	cleaner *Cleaner
	stored  *TargetPlan
	now     *TargetPlan       // the new decision; nil if the cleaner does not have the target
	items   []*Item           // of now: to act on, in order
	staying map[string]*Image // of now: the images that stay, by id
	result  map[*Item]*ImageResult
	target  Target
	client  *awsec2.Client
	region  *regionUse
	clock   clock.Clock
	log     *slog.Logger

	changing turn            // held to remove an image that shares snapshots with another one to be removed
	shared   map[string]bool // such snapshots

	reading turn                // held to read sharing
	sharing map[string][]string // by snapshot id: the images that contain it; nil until needed

	mu      sync.Mutex
	stop    error             // why nothing more is tried
	used    map[string]string // by image id: what uses it, as the sources listed
	asked   map[string]string // the same, as asked sources answered
	readAt  time.Time         // when used was read
	removed map[string]bool   // image ids

	results   []ImageResult
	snapshots []SnapshotResult
	errs      []error
}

func (c *Cleaner) newRun(stored *TargetPlan) *targetRun {
	r := &targetRun{
		cleaner: c, stored: stored, clock: c.clock(), result: map[*Item]*ImageResult{},
		log:      c.log().With(slog.String("region", stored.Region), slog.String("account", stored.Account)),
		changing: newTurn(), reading: newTurn(),
		removed: map[string]bool{}, shared: map[string]bool{},
	}
	seen := map[string]bool{}
	for _, item := range stored.changes() {
		if !seen[item.Image.ID] {
			seen[item.Image.ID] = true
			r.results = append(r.results, ImageResult{
				Account: stored.Account, Region: stored.Region, ID: item.Image.ID, Name: item.Image.Name,
				Action: item.Action, Outcome: NotTried,
			})
		}
	}
	for i := range stored.Snapshots {
		if s := &stored.Snapshots[i]; s.Action == Remove && !seen[s.Snapshot.ID] {
			seen[s.Snapshot.ID] = true
			r.snapshots = append(r.snapshots, SnapshotResult{
				Account: stored.Account, Region: stored.Region, ID: s.Snapshot.ID, Outcome: NotTried,
			})
		}
	}
	return r
}

func (r *targetRun) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop = err
	if len(r.results)+len(r.snapshots) > 0 {
		r.errs = append(r.errs, &TargetError{Account: r.stored.Account, Region: r.stored.Region, Err: err})
	}
}

// begin compares the stored plan with the new decision: what they agree on is
// left to do, everything else has its outcome.
func (r *targetRun) begin(now *TargetPlan, inv *targetInventory) {
	r.now, r.target, r.client = now, inv.target, inv.target.ec2()
	switch {
	case inv.err != nil:
		r.stop = inv.err // decide has reported it
		return
	case now.Owner != "" && r.stored.Owner != "" && now.Owner != r.stored.Owner:
		r.fail(fmt.Errorf("%w: %s, want %s", ErrOtherAccount, now.Owner, r.stored.Owner))
		return
	}
	images := map[string]*Image{}
	for _, img := range inv.images {
		images[img.ID] = img
	}
	items := map[string]*Item{}
	r.staying = map[string]*Image{}
	for i := range now.Items {
		item := &now.Items[i]
		items[item.Image.ID] = item
		if item.Action.steps() == 0 {
			r.staying[item.Image.ID] = item.Image
		}
	}
	stored := map[string]*Item{}
	for i := range r.stored.Items {
		stored[r.stored.Items[i].Image.ID] = &r.stored.Items[i]
	}
	left := map[string]*ImageResult{}
	for i := range r.results {
		res := &r.results[i]
		item := items[res.ID]
		switch {
		case images[res.ID] == nil:
			res.Outcome = Gone
		case item == nil:
			res.Outcome, res.Detail = Skipped, "the policy does not select it"
		case item.Action == res.Action:
			left[res.ID] = res
		case doneBefore(stored[res.ID], images[res.ID]):
			res.Outcome = AlreadyDone
		default:
			res.Outcome, res.Detail = Skipped, item.changed()
		}
	}
	seen := map[string]bool{}
	for _, item := range now.changes() {
		res := left[item.Image.ID]
		if res == nil {
			continue // not approved: decide leaves none
		}
		res.Name = item.Image.Name
		r.items, r.result[item] = append(r.items, item), res
		for _, s := range item.Image.Snapshots {
			r.shared[s] = r.shared[s] || seen[s]
			seen[s] = true
		}
	}
}

// changed describes why the plan no longer applies to an image.
func (item *Item) changed() string {
	if len(item.Reasons) == 0 {
		return fmt.Sprintf("would now be changed by %q", item.Action)
	}
	return item.why()
}
