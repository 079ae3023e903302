// Command cleanup retires old AMIs in several regions, as a nightly job: it
// plans, prints the plan, and with -apply carries it out. An image that an
// instance or a launch template uses is never touched.
//
//	go run ./examples/cleanup -apply
//
// On the embedded EC2 it first makes something to clean up. On AWS, give -aws
// and the regions.
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

// cleaner keeps the newest three images of every name, whatever is younger
// than two weeks, and whatever is in use.
func cleaner(where *demo.Demo, regions []string) *amicleanup.Cleaner {
	c := &amicleanup.Cleaner{
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}", Except: map[string]string{ec2.TagExpires: "*"}},
			Keep: []amicleanup.Keeper{
				amicleanup.Newest(3),
				amicleanup.YoungerThan(14 * 24 * time.Hour),
				amicleanup.InUse(amicleanup.Instances(), amicleanup.LaunchTemplates()),
			},
		},
		Clock: where.Clock,
	}
	for _, region := range regions {
		c.Targets = append(c.Targets, amicleanup.Target{Region: region, Client: where.Cloud.Client(region)})
	}
	return c
}

func main() { demo.Main("cleanup", run) }

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("cleanup", flag.ContinueOnError)
	apply := flags.Bool("apply", false, "carry the plan out")
	onAWS := flags.Bool("aws", false, "clean up on AWS, with the usual configuration")
	list := flags.String("regions", "eu-west-1,us-east-1", "`regions` to clean up, with commas between")
	if err := flags.Parse(args); err != nil {
		return err
	}
	regions := strings.Split(*list, ",")
	where, err := demo.Choose(ctx, *onAWS, regions[0], nil)
	if err != nil {
		return err
	}
	defer where.Close()
	if !*onAWS {
		if err := fill(ctx, where, regions); err != nil {
			return err
		}
	}
	return nightly(ctx, cleaner(where, regions), *apply, out)
}

// nightly plans, prints, and applies. What could be done is done and printed
// even if there were errors.
func nightly(ctx context.Context, c *amicleanup.Cleaner, apply bool, out io.Writer) error {
	plan, planErr := c.Plan(ctx)
	if plan == nil {
		return planErr
	}
	if err := plan.WriteText(out); err != nil {
		return err
	}
	if !apply {
		return planErr
	}
	result, err := c.Apply(ctx, plan)
	if result != nil {
		err = errors.Join(err, result.WriteText(out))
	}
	return errors.Join(planErr, err)
}
