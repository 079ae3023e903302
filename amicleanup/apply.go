package amicleanup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Apply carries plan out. There is a result besides an error, unless the plan
// as a whole cannot be applied: because it has expired (ErrExpired), because
// another policy made it (ErrOtherPolicy), or because it is of a version that
// this one does not read.
//
// The images themselves are not judged again, but each is read again just
// before it is changed, together with the image that its group needs, and what
// uses images is read again by the policy's sources: once before, and then
// whenever that is a minute ago. What differs from the plan is skipped. A plan
// that was applied before changes nothing more. Of a plan that was made just
// now, Apply first waits for Cleaner.SettleTime, unless there is nothing to do.
func (c *Cleaner) Apply(ctx context.Context, plan *Plan) (*Result, error) {
	if err := c.applicable(plan); err != nil {
		return nil, err
	}
	result := &Result{Started: c.clock().Now().UTC()}
	runs := make([]*targetRun, len(plan.Targets))
	regions := map[string]*regionUse{}
	going := map[string]bool{}
	for i := range plan.Targets {
		runs[i] = c.newRun(&plan.Targets[i])
		region := plan.Targets[i].Region
		if regions[region] == nil {
			regions[region] = &regionUse{cleaner: c, region: region, going: going, reading: newTurn()}
		}
		runs[i].region = regions[region]
		for _, item := range runs[i].items {
			going[item.Image.ID] = true
		}
	}
	each := func(do func(*targetRun)) {
		var wg sync.WaitGroup
		for _, run := range runs {
			if len(run.items) > 0 {
				wg.Go(func() { do(run) })
			}
		}
		wg.Wait()
	}
	if len(going) == 0 || c.settled(ctx, plan.Made) == nil {
		each(func(run *targetRun) { run.prepare(ctx) })
		holdReleases(runs)
		each(func(run *targetRun) { run.apply(ctx) })
	}
	var errs []error
	for _, run := range runs {
		result.Images = append(result.Images, run.results...)
		errs = append(errs, run.errs...)
	}
	if result.Count(NotTried) > 0 && ctx.Err() != nil {
		errs = append(errs, context.Cause(ctx))
	}
	result.Finished = c.clock().Now().UTC()
	return result, errors.Join(errs...)
}

// applicable says why the plan as a whole cannot be applied.
func (c *Cleaner) applicable(plan *Plan) error {
	if err := c.Validate(); err != nil {
		return err
	}
	switch now := c.clock().Now(); {
	case plan.Version != planVersion:
		return bake.Invalid("Plan.Version", "is %d; this version reads %d", plan.Version, planVersion)
	case !now.Before(plan.Expires):
		return fmt.Errorf("%w: at %s", ErrExpired, stampText(plan.Expires))
	case plan.Policy != c.Policy.Fingerprint():
		return ErrOtherPolicy
	}
	return nil
}

// A targetRun carries out the plan of one target.
type targetRun struct {
	cleaner *Cleaner
	plan    *TargetPlan
	items   []*Item // to act on, in order
	target  Target
	region  *regionUse
	clock   clock.Clock
	log     *slog.Logger

	changing turn            // held to remove an image whose snapshots another one to be removed has
	shared   map[string]bool // such snapshots
	held     map[string]string

	reading turn                // held to read what is in use, and to use sharing
	sharing map[string][]string // by snapshot id: the images that have it; nil before it is needed

	mu      sync.Mutex
	stop    error             // why nothing more is tried
	used    map[string]string // by image id: what uses it now, as the sources know
	asked   map[string]string // the same, as opinions say
	readAt  time.Time         // when used was read
	removed map[string]bool   // image ids

	results []ImageResult
	errs    []error
}

func (c *Cleaner) newRun(plan *TargetPlan) *targetRun {
	r := &targetRun{
		cleaner: c, plan: plan, items: plan.changes(), clock: c.clock(),
		log:      c.log().With(slog.String("region", plan.Region), slog.String("account", plan.Account)),
		changing: newTurn(), reading: newTurn(),
		removed: map[string]bool{}, shared: map[string]bool{}, held: map[string]string{},
	}
	seen := map[string]bool{}
	r.results = make([]ImageResult, len(r.items))
	for i, item := range r.items {
		r.results[i] = ImageResult{
			Account: plan.Account, Region: plan.Region, ID: item.Image.ID, Name: item.Image.Name,
			Action: item.Action, Outcome: NotTried,
		}
		for _, s := range item.Image.Snapshots {
			r.shared[s] = seen[s]
			seen[s] = true
		}
	}
	return r
}

// prepare finds the target's client, makes sure that it is of the account that
// the plan is for, and reads once more what is in use.
func (r *targetRun) prepare(ctx context.Context) {
	if err := r.begin(ctx); err != nil {
		r.stop = err
		r.errs = append(r.errs, &TargetError{r.plan.Account, r.plan.Region, err})
		return
	}
	r.survey(ctx)
}

func (r *targetRun) begin(ctx context.Context) error {
	var ok bool
	if r.target, ok = r.cleaner.target(r.plan.Account, r.plan.Region); !ok {
		return errors.New("the plan is for a target that the cleaner does not have")
	}
	sources := r.cleaner.Policy.sources()
	for _, c := range r.plan.Coverage {
		if !hasSource(sources, c.Source) {
			return fmt.Errorf("%w: the plan was made with %s, which the cleaner's policy does not read", ErrNotCovered, c.Source)
		}
	}
	owner, err := ownerOf(ctx, r.target.Client)
	if err != nil {
		return err
	}
	if owner != "" && owner != r.plan.Owner {
		return fmt.Errorf("%w: %s, not %s", ErrOtherAccount, owner, r.plan.Owner)
	}
	return r.readUse(ctx)
}

// ownerOf is the id of the account that client is of, as one of its images
// tells; empty when it has none.
func ownerOf(ctx context.Context, client ImageReader) (string, error) {
	const fewest = 5 // that EC2 allows to ask for
	pages := awsec2.NewDescribeImagesPaginator(client, &awsec2.DescribeImagesInput{
		Owners: []string{"self"}, IncludeDisabled: aws.Bool(true), MaxResults: aws.Int32(fewest),
	}, func(o *awsec2.DescribeImagesPaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		if len(page.Images) > 0 {
			return aws.ToString(page.Images[0].OwnerId), nil
		}
	}
	return "", nil
}

func hasSource(sources []Source, name string) bool {
	for _, s := range sources {
		if s.Name() == name {
			return true
		}
	}
	return false
}

// apply changes what the plan says, several images at a time, and leaves off
// when the context ends or no further change can succeed.
func (r *targetRun) apply(ctx context.Context) {
	queue := make(chan int)
	var wg sync.WaitGroup
	for range min(len(r.items), cmp.Or(r.cleaner.Parallel, defaultParallel)) {
		wg.Go(func() {
			for i := range queue {
				r.change(ctx, r.items[i], &r.results[i])
			}
		})
	}
	for i := range r.items {
		queue <- i
	}
	close(queue)
	wg.Wait()
}

const defaultParallel = 4

// change changes one image, unless there is no use in trying.
func (r *targetRun) change(ctx context.Context, item *Item, res *ImageResult) {
	if r.fresh(ctx) && ctx.Err() == nil {
		if why := r.held[item.Release]; why != "" && item.Release != "" {
			res.Outcome, res.Detail = Skipped, why
		} else if err := r.act(ctx, item, res); err != nil {
			r.mu.Lock()
			r.errs = append(r.errs, &ImageError{res.Account, res.Region, res.ID, res.Name, err})
			if meaningOf(err) == hopeless {
				r.stop = err
			}
			r.mu.Unlock()
		}
	}
	r.report(ctx, res)
}

// fresh reads again what is in use when that is long ago, and reports whether
// the work may go on.
func (r *targetRun) fresh(ctx context.Context) bool {
	r.reading.take()
	defer r.reading.pass()
	if !r.goesOn() || ctx.Err() != nil || r.clock.Now().Sub(r.readAt) < referencesStale {
		return r.goesOn()
	}
	if err := r.readUse(ctx); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stop = err
		r.errs = append(r.errs, &TargetError{r.plan.Account, r.plan.Region, err})
		return false
	}
	return r.goesOn()
}

func (r *targetRun) goesOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stop == nil
}

func (r *targetRun) report(ctx context.Context, res *ImageResult) {
	level := slog.LevelInfo
	if res.Outcome == Failed {
		level = slog.LevelWarn
	}
	r.log.LogAttrs(ctx, level, "amicleanup",
		slog.String("image", res.ID), slog.String("name", res.Name), slog.String("action", string(res.Action)),
		slog.String("outcome", string(res.Outcome)), slog.String("detail", res.Detail))
}
