// Command cleanup retires old AMIs in several regions, as a nightly job: it
// reads what there is and what uses it, decides, prints the plan, and with
// -apply carries it out and reports. An image in use is never touched. It also
// reaps what builds left whose process died.
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

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// policy keeps, for every name, the newest three images that can be launched, one
// for each of the last three weeks with any, those younger than two weeks, and
// everything that careful rules protect: images in use, shared or marked, and the
// bases of images that stay. The copies of one build stay or go together.
// Snapshots that belong to no image also go.
func policy(lifecycle amicleanup.Lifecycle) amicleanup.Policy {
	return amicleanup.Policy{
		Select: amicleanup.Select{Name: "{group} {unix}"},
		Keep: append(amicleanup.Careful(),
			amicleanup.NewestUsable(3),
			amicleanup.Calendar{Weekly: 3},
			amicleanup.YoungerThan(14*amicleanup.Day),
			amicleanup.KeepUntil("keep-until"),
		),
		Release:   amicleanup.SameBuild(),
		Lifecycle: lifecycle,
		Snapshots: &amicleanup.SnapshotPolicy{},
		Limits:    amicleanup.Limits{Removals: 100, Fraction: 0.6},
	}
}

// options are the flags.
type options struct {
	apply, serve, onAWS, policy bool
	regions                     []string
	schedule, lock              string
	lifecycle                   amicleanup.Lifecycle
}

// nightly returns the job.
func nightly(where *demo.Demo, o *options, out io.Writer) *service.Service {
	cleaner := &amicleanup.Cleaner{Policy: policy(o.lifecycle), Clock: where.Clock}
	for _, region := range o.regions {
		cleaner.Targets = append(cleaner.Targets,
			amicleanup.Connect(where.Cloud.Config(region), &amicleanup.ConnectOptions{NoCallLimits: true, Clock: where.Clock}))
	}
	job := &service.Service{
		Cleaner:  cleaner,
		Schedule: o.schedule,
		Jitter:   10 * time.Minute,
		Review: func(_ context.Context, plan *amicleanup.Plan) (apply bool, err error) {
			return o.apply, plan.WriteText(out)
		},
		Report: func(_ context.Context, run *service.Run) { report(out, run) },
	}
	reaper := reaper(where, o)
	job.Also = func(ctx context.Context, apply bool) error { return reap(ctx, reaper, apply && o.apply, out) }
	if o.lock != "" {
		job.Lock = &service.ParameterLock{
			Config: where.Cloud.Config(o.regions[0]), Name: o.lock, Clock: where.Clock,
		}
	}
	return job
}

// reaper returns what reaps in the regions.
func reaper(where *demo.Demo, o *options) *ec2.Reaper {
	return &ec2.Reaper{Clouds: []*ec2.Cloud{where.Cloud}, Regions: o.regions}
}

// reap plans what to reap, prints it, and does it if apply is set.
func reap(ctx context.Context, reaper *ec2.Reaper, apply bool, out io.Writer) error {
	plan, unread := reaper.Plan(ctx)
	fmt.Fprint(out, plan)
	if !apply {
		return unread
	}
	result, err := reaper.Apply(ctx, plan)
	fmt.Fprint(out, result)
	return errors.Join(unread, err)
}

// permissions returns the least IAM policy of the job.
func permissions(where *demo.Demo, o *options, job *service.Service) *iampolicy.Document {
	policy := job.IAMPolicy(&amicleanup.IAMPolicyOptions{PlanOnly: !o.apply})
	if !o.apply {
		return policy.With(reaper(where, o).PlanPolicy())
	}
	return policy.With(reaper(where, o).IAMPolicy())
}

// report prints what a run did; the plan was printed before.
func report(out io.Writer, run *service.Run) {
	if run.Held != "" {
		fmt.Fprintf(out, "nothing was changed: %s\n", run.Held)
	}
	if run.Result != nil {
		_ = run.Result.WriteText(out) // an error of standard output is not worth a failure
	}
	if run.Report != nil {
		_ = run.Report.WriteText(out)
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
	flags.DurationVar(&o.lifecycle.DeprecateFor, "deprecated", 0, "how long an image stays deprecated before it is disabled or removed")
	flags.DurationVar(&o.lifecycle.DisableFor, "disabled", 0, "how long an image stays disabled before it is removed")
	regions := flags.String("regions", "eu-west-1,us-east-1", "`regions` to clean up, with commas between")
	if err := demo.Parse(flags, args); err != nil {
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
		_, err := fmt.Fprintln(out, permissions(where, &o, job))
		return err
	}
	if !o.onAWS {
		fmt.Fprint(out, "Cleaning up an embedded EC2, with images that this example has made.\n\n")
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
