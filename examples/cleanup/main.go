// Command cleanup retires old AMIs in several regions, as a nightly job: it
// reads what there is and what uses it, decides, prints the plan, and with
// -apply carries it out and reports. An image in use is never touched.
//
//	go run ./examples/cleanup -apply
//
// On the embedded EC2 it first makes something to clean up. On AWS, this is
// the whole job, for cron or a scheduler to start:
//
//	cleanup -aws -regions eu-west-1,us-east-1 -apply -deprecated 168h -disabled 336h
//
// With -serve it stays and runs every night by itself. With -policy it prints
// the least IAM policy that the job needs with these flags, and does nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

const day = 24 * time.Hour

// policy keeps, of every name, the newest three images that can be launched,
// one for each of the last three weeks with any, and whatever is younger than
// two weeks, in use, marked, or the base of an image that stays. The copies of
// one build stay or go together.
func policy(ladder amicleanup.Ladder) amicleanup.Policy {
	return amicleanup.Policy{
		Select: amicleanup.Select{Name: "{group} {unix}"},
		Keep: []amicleanup.Keeper{
			amicleanup.NewestUsable(3),
			amicleanup.Calendar{Weekly: 3},
			amicleanup.YoungerThan(14 * day),
			amicleanup.InUse(amicleanup.AllSources()...),
			amicleanup.Tagged("keep", "*"),
			amicleanup.KeepUntil("keep-until"),
			amicleanup.ParentOfKept(),
		},
		Release: amicleanup.SameBuild,
		Ladder:  ladder,
		Limits:  amicleanup.Limits{Removals: 100, Fraction: 0.6},
	}
}

// options are what the flags say.
type options struct {
	apply, serve, onAWS, policy bool
	regions                     []string
	schedule, lock              string
	ladder                      amicleanup.Ladder
}

// nightly is the job: also snapshots go that no image has any more.
func nightly(where *demo.Demo, o *options, out io.Writer) *amicleanup.Service {
	cleaner := &amicleanup.Cleaner{Policy: policy(o.ladder), Clock: where.Clock}
	for _, region := range o.regions {
		cleaner.Targets = append(cleaner.Targets,
			amicleanup.Connect(where.Cloud.Config(region), &amicleanup.ConnectOptions{NoCallLimits: true, Clock: where.Clock}))
	}
	service := &amicleanup.Service{
		Cleaner:  cleaner,
		Schedule: o.schedule,
		Jitter:   10 * time.Minute,
		Orphans:  &amicleanup.OrphanPolicy{},
		Review: func(_ context.Context, plan *amicleanup.Plan) (apply bool, err error) {
			return o.apply, plan.WriteText(out)
		},
		Report: func(_ context.Context, round *amicleanup.Round) { tell(out, round) },
	}
	if o.lock != "" {
		service.Lock = &amicleanup.ParameterLock{
			Client: ssm.NewFromConfig(where.Cloud.Config(o.regions[0])), Name: o.lock, Clock: where.Clock,
		}
	}
	return service
}

// tell says what a run did; the plan was printed before.
func tell(out io.Writer, round *amicleanup.Round) {
	if round.Held != "" {
		fmt.Fprintf(out, "nothing was changed: %s\n", round.Held)
	}
	if round.Result != nil {
		_ = round.Result.WriteText(out) // what cannot be printed, nobody reads
	}
	if round.Orphans != nil {
		fmt.Fprintf(out, "%d orphan snapshots removed\n", round.Orphans.Count(amicleanup.Removed))
	}
	if round.Report != nil {
		_ = round.Report.WriteText(out)
	}
}

func main() { demo.Main("cleanup", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("cleanup", flag.ContinueOnError)
	flags.BoolVar(&o.apply, "apply", false, "carry the plan out")
	flags.BoolVar(&o.serve, "serve", false, "run every night until interrupted")
	flags.BoolVar(&o.policy, "policy", false, "print the IAM policy that the job needs, and do nothing")
	flags.BoolVar(&o.onAWS, "aws", false, "clean up on AWS, with the usual configuration")
	flags.StringVar(&o.schedule, "schedule", "17 3 * * *", "when to run with -serve, as a cron `expression` in UTC")
	flags.StringVar(&o.lock, "lock", "", "the `parameter` that keeps two jobs from running at once")
	flags.DurationVar(&o.ladder.Deprecated, "deprecated", 0, "how long an image stays deprecated before it is disabled or removed")
	flags.DurationVar(&o.ladder.Disabled, "disabled", 0, "how long an image stays disabled before it is removed")
	regions := flags.String("regions", "eu-west-1,us-east-1", "`regions` to clean up, with commas between")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.regions = strings.Split(*regions, ",")
	where, err := demo.Choose(ctx, o.onAWS, o.regions[0], nil)
	if err != nil {
		return err
	}
	defer where.Close()
	job := nightly(where, &o, out)
	if o.policy {
		_, err := fmt.Fprintln(out, job.IAMPolicy(&amicleanup.IAMPolicyOptions{PlanOnly: !o.apply}))
		return err
	}
	if !o.onAWS {
		if err := fill(ctx, where, o.regions); err != nil {
			return err
		}
	}
	if !o.serve {
		return job.Once(ctx).Err
	}
	if err := job.Serve(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
