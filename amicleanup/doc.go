// Package amicleanup retires old machine images, in any number of regions and
// accounts, and never one that is in use.
//
// A Cleaner holds where to look and what to keep. It plans, and then applies
// the plan; between the two anyone may read it:
//
//	cleaner := &amicleanup.Cleaner{
//		Targets: []amicleanup.Target{amicleanup.Connect(cfg, nil)},
//		Policy: amicleanup.Policy{
//			Select: amicleanup.Select{Name: "{group} {unix}"},
//			Keep: []amicleanup.Keeper{
//				amicleanup.NewestUsable(5),
//				amicleanup.InUse(amicleanup.AllSources()...),
//			},
//		},
//	}
//	plan, err := cleaner.Plan(ctx)
//	...
//	err = plan.WriteText(os.Stdout)
//	...
//	result, err := cleaner.Apply(ctx, plan)
//
// AfterBake makes a Cleaner the publisher of an image, which then retires the
// older images of that one group whenever a new one was baked. A Service runs
// a Cleaner by a schedule, and reports. The example cleanup is a whole nightly
// job.
//
// # Four stages
//
// Read asks EC2 what there is and makes an Inventory. Policy.Evaluate decides,
// without any I/O, and makes a Plan, which says of every image what is to
// happen and why. Cleaner.Apply carries it out and makes a Result, which
// Cleaner.Undo takes back as far as EC2 allows. Only Read and Apply talk to
// EC2, and only Apply and Undo change anything. Inventory, Plan and Result are
// plain data and marshal to JSON; a plan may be reviewed, stored and applied
// later by another process, until it expires. It knows its policy and its
// accounts, and Apply refuses others.
//
// # What a policy says
//
// Select says which own images it is about, by name, by tag, or simply those
// that this library has baked. Group and Stamp say which belong together and
// in which order; by default both are in the name or in this library's tags.
// Keep is a list of keepers, any of which is enough to keep an image:
//
//	Newest, NewestUsable      so many of each group
//	YoungerThan, Calendar     by age; the newest of so many days, weeks, months
//	InUse, SecondOpinion      what anything uses, as sources and EC2 itself know
//	LaunchedWithin            what EC2 saw launched, and what it cannot know
//	Tagged, KeepUntil         by tag, for good or until the time in it
//	Public, Shared            what others may launch
//	ParentOfKept              what a kept image was made from
//	IDs, IDsInFiles           by name, as Terraform's files have it
//	JustBuilt                 what AfterBake adds by itself
//
// Release binds the copies and architectures of one build: they are kept or
// retired together, in all targets. A Ladder deprecates and disables images
// for a while before it removes them, and restores what is wanted again.
// Limits bound what one run may do.
//
// # What is never removed
//
// A policy without keepers removes nothing. Whatever a policy says, these
// stay: an image of another owner, the newest image of a group and its newest
// usable one, an image whose group or stamp cannot be read, one that is still
// being made or belongs to a build that may still run, one that is protected
// from deregistration, and one that AWS Backup or Data Lifecycle Manager
// manages. Groups never mix architectures, regions or accounts. A group whose
// newest image cannot be launched is left alone.
//
// What cannot be known keeps: a source of references that fails or is denied
// keeps all images that it could have named, a launch time that EC2 does not
// tell is not "never", and a permission that cannot be read is not private.
//
// Apply reads every image again just before it acts, together with the newest
// one of its group, and what uses images whenever that was read a minute ago.
// What differs from the plan is skipped, with the rest of its release. If an
// image is gone it counts as done, and those of its snapshots that an
// interrupted run left behind are removed; a snapshot that another image has
// never is. Applying a plan twice does no more than applying it once.
//
// EC2 shows what is new, and tags that have changed, some seconds late and not
// in every answer. Therefore Apply waits until a plan is half a minute old
// (Cleaner.SettleTime) before it looks again and changes anything: what was put
// to use, tagged or baked before the plan is seen then.
//
// TRAPS.md lists what has gone wrong elsewhere, and the tests that show that
// it does not go wrong here.
//
// # Snapshots without an image
//
// Snapshots go with their images. Those that some other tool has left, or a
// build that died, are found by Cleaner.PlanOrphans with a policy of its own.
//
// # Permissions
//
// Cleaner.IAMPolicy and Service.IAMPolicy return the least IAM policy for what
// they do, made of what the retention policy really uses; String prints it. Where
// bakes have the same role, it is joined with what they need:
//
//	policy := ec2.Policy(cloud, images...).With(cleaner.IAMPolicy(nil))
//
// What an AfterBake needs is in ec2.Policy.
//
// # Errors
//
// A target that cannot be read or changed does not stop the others, and an
// image that cannot be changed does not stop the rest of its target: Plan and
// Apply return what they have besides their error, which joins a *TargetError
// or *ImageError for each failure. Only an error that holds for every image of
// a target, such as missing permission, ends the work on that target.
//
// When the context ends, Apply finishes the images at hand with their
// snapshots and begins no other. Rate limits and retries are those of the
// client; Connect sets both.
package amicleanup
