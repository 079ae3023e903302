// Package amicleanup retires old machine images: it keeps the newest of each
// group, and removes the others with their snapshots, in any number of regions.
//
// A Cleaner holds where to look and what to keep. It plans, and then applies
// the plan; between the two anyone may read it:
//
//	cleaner := &amicleanup.Cleaner{
//		Targets: []amicleanup.Target{{Region: "eu-west-1", Client: awsec2.NewFromConfig(cfg)}},
//		Policy: amicleanup.Policy{
//			Select: amicleanup.Select{Name: "{group} {unix}"},
//			Keep:   []amicleanup.Keeper{amicleanup.Newest(5), amicleanup.InUse(amicleanup.Instances())},
//		},
//	}
//	plan, err := cleaner.Plan(ctx)
//	...
//	err = plan.WriteText(os.Stdout)
//	...
//	result, err := cleaner.Apply(ctx, plan)
//
// AfterBake makes a Cleaner the publisher of an image, which then retires the
// older images of that one group whenever a new one was baked.
//
// # Four stages
//
// Read asks EC2 what there is and makes an Inventory. Policy.Evaluate decides,
// without any I/O, and makes a Plan, which says of every image what is to
// happen and why. Cleaner.Apply carries it out and makes a Result. Only Read
// and Apply talk to EC2, and only Apply changes anything. Inventory, Plan and
// Result are plain data and marshal to JSON; a plan may be stored and applied
// later by another process.
//
// # What is never removed
//
// One keeper is enough to keep an image, and a policy without keepers removes
// nothing. Whatever a policy says, these stay: an image of another owner, the
// newest image of a group and its newest available one, an image whose group
// or stamp cannot be read, one that is still being made, one that is protected
// from deregistration, and one that AWS Backup manages. Groups never mix
// architectures, regions or accounts.
//
// Apply reads every image again just before it acts, together with the newest
// one of its group. If either differs from the plan the image is skipped. If
// it is gone it counts as done, and those of its snapshots that an interrupted
// run left behind are removed; a snapshot that another image has never is.
// Applying a plan twice does no more than applying it once.
//
// # Errors
//
// A target that cannot be read or changed does not stop the others, and an
// image that cannot be removed does not stop the rest of its target: Plan and
// Apply return what they have besides their error, which joins a *TargetError
// or *ImageError for each failure. Only an error that holds for every image of
// a target, such as missing permission, ends the work on that target.
//
// When the context ends, Apply finishes the image at hand with its snapshots
// and stops before the next one. Rate limits and retries are those of the
// client.
package amicleanup
