package amicleanup_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/amicleanup/service"
	"github.com/bakestone-go/bakestone/bake"
)

// Plan, print, apply: keep the newest two images of each node.
func Example() {
	ec2 := newFake() // in a program: awsec2.NewFromConfig(cfg)
	ec2.series("web", 4)
	ec2.series("db", 2)

	ctx := context.Background()
	cleaner := &amicleanup.Cleaner{
		Targets: []amicleanup.Target{target("eu-west-1", ec2)},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}"},
			Keep:   []amicleanup.Rule{amicleanup.Newest(2)},
		},
		SettleTime: time.Nanosecond, // this EC2 shows everything at once
	}
	plan, err := cleaner.Plan(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := plan.WriteText(os.Stdout); err != nil {
		fmt.Println(err)
	}
	result, err := cleaner.Apply(ctx, plan)
	if err != nil {
		fmt.Println(err)
	}
	if err := result.WriteText(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// eu-west-1: 2 to remove, 4 to keep, 0 not selected
	//   db x86_64
	//     keep    ami-db1  db 1700003600  2023-11-14 23:13:20  is the newest of its group; is one of the 2 newest
	//     keep    ami-db0  db 1700000000  2023-11-14 22:13:20  is one of the 2 newest
	//   web x86_64
	//     keep    ami-web3  web 1700010800  2023-11-15 01:13:20  is the newest of its group; is one of the 2 newest
	//     keep    ami-web2  web 1700007200  2023-11-15 00:13:20  is one of the 2 newest
	//     remove  ami-web1  web 1700003600  2023-11-14 23:13:20  1 snapshot
	//     remove  ami-web0  web 1700000000  2023-11-14 22:13:20  1 snapshot
	// eu-west-1  removed  ami-web0  web 1700000000  snap-web0 removed
	// eu-west-1  removed  ami-web1  web 1700003600  snap-web1 removed
}

// One publisher serves the images of all nodes: after each bake it retires the
// older images of that node only.
func ExampleAfterBake() {
	ec2 := newFake()
	ec2.series("web", 4)
	ec2.series("db", 4)

	retire := amicleanup.AfterBake(amicleanup.Cleaner{
		Targets: []amicleanup.Target{target("eu-west-1", ec2)},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Name: "{group} {unix}"},
			Keep:   []amicleanup.Rule{amicleanup.Newest(2)},
		},
		Parallel:   1,
		SettleTime: time.Nanosecond, // this EC2 shows everything at once
	})
	images := []*bake.Image{
		{Name: "web", Publishers: []bake.Publisher{retire}},
		{Name: "db", Publishers: []bake.Publisher{retire}},
	}
	// Bake does this with the first image once it is good:
	err := images[0].Publishers[0].Publish(context.Background(), artifact{"eu-west-1": "ami-web3"})
	fmt.Println(ec2.changes(), err)
	// Output:
	// [DeregisterImage ami-web0 DeregisterImage ami-web1] <nil>
}

// The least-privilege IAM policy for cleaning up images of this library.
func ExampleCleaner_IAMPolicy() {
	cleaner := &amicleanup.Cleaner{
		Targets: []amicleanup.Target{target("eu-west-1", newFake())},
		Policy: amicleanup.Policy{
			Select: amicleanup.Select{Baked: true},
			Keep:   []amicleanup.Rule{amicleanup.Newest(5), amicleanup.InUse(inuse.Instances())},
		},
	}
	policy := cleaner.IAMPolicy(nil) // fmt.Println(policy) is the JSON that IAM takes
	for _, s := range policy.Statement {
		fmt.Println(s.Action, s.Resource, s.Condition)
	}
	// Output:
	// [ec2:DescribeImages ec2:DescribeInstances] [*] map[]
	// [ec2:DeregisterImage] [arn:aws:ec2:eu-west-1::image/*] map[StringLike:map[aws:ResourceTag/bakestone:build:[*]]]
	// [ec2:DeleteSnapshot] [arn:aws:ec2:eu-west-1::snapshot/*] map[StringLike:map[aws:ResourceTag/bakestone:build:[*]]]
}

// A nightly job that retires images in steps and reports.
func ExampleService() {
	ec2 := newFake()
	ec2.series("web", 4)
	clock := &stepped{now: time.Date(2026, 1, 31, 3, 0, 0, 0, time.UTC)} // in a program: nil
	ec2.now = clock.Now

	job := &service.Service{
		Schedule: "17 3 * * *",
		Cleaner: &amicleanup.Cleaner{
			Targets: []amicleanup.Target{target("eu-west-1", ec2)},
			Policy: amicleanup.Policy{
				Select:    amicleanup.Select{Name: "{group} {unix}"},
				Keep:      []amicleanup.Rule{amicleanup.NewestUsable(2)},
				Lifecycle: amicleanup.Lifecycle{DeprecateFor: 7 * 24 * time.Hour, DisableFor: 14 * 24 * time.Hour},
			},
			Clock: clock,
		},
		Report: func(_ context.Context, run *service.Run) {
			if err := run.Report.WriteText(os.Stdout); err != nil {
				fmt.Println(err)
			}
		},
	}
	run := job.Once(context.Background()) // or job.Serve, which stays
	fmt.Println(run.Err)
	// Output:
	// Planned at 2026-01-31 03:00:00
	//   2 to deprecate
	//   2 to keep
	// Done
	//   2 deprecated
	// Kept
	//   2 by NewestUsable(2)
	//   1 by always
	// <nil>
}
