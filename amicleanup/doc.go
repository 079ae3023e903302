// Package amicleanup retires old machine images in any number of regions and
// accounts, except images in use.
//
// A [Cleaner] plans, and then applies the plan; between the two anyone may read
// it. This program keeps the newest five images of each name, and every image
// that [Careful] rules protect:
//
//	cleaner := &amicleanup.Cleaner{
//		Targets: []amicleanup.Target{amicleanup.Connect(cfg, nil)},
//		Policy: amicleanup.Policy{
//			Select: amicleanup.Select{Name: "{group} {unix}"}, // web 1767225600
//			Keep:   append(amicleanup.Careful(), amicleanup.NewestUsable(5)),
//		},
//	}
//	plan, err := cleaner.Plan(ctx)
//	...
//	err = plan.WriteText(os.Stdout)
//	...
//	result, err := cleaner.Apply(ctx, plan)
//
// [AfterBake] makes a Cleaner the publisher of an image: whenever a new image was
// baked, it retires the older ones of that group. Package service runs a Cleaner
// by a schedule, with a lock, a maintenance window, a review and reports. The
// example cleanup is a whole nightly job.
//
// # Policies
//
// [Select] selects own images by name, by tag, or simply those that this library
// has baked. Policy.Group and Policy.Timestamp put them into groups and in order;
// by default both are in the name or in this library's tags. Policy.Keep is a list
// of rules, any of which is enough to keep an image:
//
//	Careful                          every rule that needs no parameters
//	Newest, NewestUsable, NewestPer  a number of each group, or per key
//	YoungerThan, Calendar            by age; the newest of days, weeks, months
//	LaunchedWithin                   launched lately, as EC2 recorded
//	InUse                            anything uses it: see package inuse
//	Tagged, Marked, KeepUntil        by tag, for good or until the time in it
//	Public, Shared                   others may launch it
//	ParentOfKept, ParentWithin       a kept image was made from it
//	Locked                           one of its snapshots is locked
//	IDs, IDsInFiles                  by id, as in Terraform's files
//	PerClass                         other rules for dev than for prod
//	NewRule                          any func
//
// Policy.Remove overrides rules of age and number for images that must go: of a
// family that is no longer built ([Abandoned]), past the date in a tag
// ([DeleteAfter]), or by id ([WithID]). Policy.Release keeps or retires the copies
// and architectures of one build together, in all targets. A [Lifecycle] deprecates
// and disables images for a while before it removes them, and restores those that a
// rule keeps again. A [SnapshotPolicy] also removes snapshots that belong to no
// image. [Limits] caps what one run may do.
//
// # Guarantees
//
// A policy without rules removes nothing. Under any policy, these images stay:
// those of other owners; pending images, what they are copied from, and those of a
// build that may still run; those that AWS Backup or Data Lifecycle Manager manages;
// and images protected from deregistration, unless Policy.LiftProtection is set.
// Unless Policy.Remove matches them, also these stay: the newest image of a group,
// and its newest usable one; and images whose group or timestamp cannot be read.
// Groups never mix architectures, regions or accounts. A group whose newest image
// cannot be launched is left alone, unless Limits.AllowUnusableNewest is set.
//
// Unknown facts keep images, and are errors: if a source of references fails or is
// denied, Plan returns [ErrUsageUnknown] beside a plan that keeps all images that the
// source could have named. If the policy selects none of the images, Plan returns
// [ErrNothingSelected] with examples.
//
// A stored plan cannot be turned against its policy. [Cleaner.Apply] reads and
// decides again, and changes only those images and snapshots for which the plan and
// the new decision agree; limits apply to its changes. A review strikes out images
// by deleting items. The result tells what has changed since the plan was made.
// Images are read once more, many at a time, shortly before they are changed.
//
// EC2 is eventually consistent. Therefore Apply waits until a plan is 30 seconds old
// (Cleaner.SettleTime) before it decides: images that were put to use, tagged or
// baked before the plan are seen then.
//
// The [page of traps] lists what has gone wrong elsewhere, and the tests that show
// that it does not go wrong here. The [page of peers] compares other cleaners, and the
// [page of costs] has times and memory.
//
// # Permissions
//
// [Cleaner.IAMPolicy] and the IAMPolicy method of a service return the least-privilege
// IAM policy for what they do. Where bakes have the same role, it is joined with
// theirs:
//
//	policy := ec2.Policy(cloud, images...).With(cleaner.IAMPolicy(nil))
//
// ec2.Policy includes the permissions of an AfterBake.
//
// # Errors
//
// A target that cannot be read or changed does not stop the others, and an image that
// cannot be changed does not stop the rest of its target. Plan and Apply return their
// partial result with an error that joins a [*TargetError] for each failure. Only an
// error that holds for every image of a target, such as a missing permission, ends
// the work on that target.
//
// When the context ends, Apply finishes the images in progress with their snapshots
// and starts no others. Rate limits and retries are those of the target's
// configuration; [Connect] sets both.
//
// [page of traps]: https://github.com/bakestone-go/bakestone/blob/main/docs/cleanup-traps.md
// [page of costs]: https://github.com/bakestone-go/bakestone/blob/main/docs/cleanup-cost.md
// [page of peers]: https://github.com/bakestone-go/bakestone/blob/main/docs/cleanup-peers.md
package amicleanup
