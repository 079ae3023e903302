// Package ec2 bakes AMIs on Amazon EC2.
//
// Create one [Cloud] from the SDK's configuration and share it among all
// [Builder] values. The builds of a process then share one polling request per
// interval and one token bucket per API action:
//
//	cfg, err := config.LoadDefaultConfig(ctx)
//	…
//	cloud := ec2.NewCloud(cfg, nil)
//	image := &bake.Image{
//		Name: "web",
//		Builder: ec2.Builder{
//			Cloud: cloud,
//			Source: ec2.Newest{
//				Owners: []string{ec2.Canonical},
//				Name:   "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
//			},
//		},
//		Provisioners: …,
//	}
//
// [AMIOf] returns the [AMI] of a [bake.Result]'s artifact.
//
// # What a bake does
//
// A bake finds the source AMI, chooses a subnet, creates a security group that
// admits SSH from the baking host alone, and launches an instance that requires
// IMDSv2. The client key and the instance's host key are created in memory and
// injected through user data, merged with the caller's. The host is therefore
// verified from the first connection on, and there is no key pair to leak.
//
// After the provisioners, the build removes keys, ids, histories and the like from
// the guest ([GuestCleanup]), stops the instance, creates the AMI, terminates the
// instance and deletes the security group; [Capture] has other ways to create the
// AMI. After the checks the AMI is copied and shared ([Distribution]), and then
// published by Image.Publishers: [SSMParameter], [LaunchTemplate],
// [PackerManifest], [JSONFile] or others.
//
// If EC2 has no capacity, the launch moves on through InstanceTypes and subnets,
// and from [Spot] to on-demand. If EC2 fails to start the instance, reclaims it
// or ends it by a fault, the build restarts from the launch. [SSH] has other ways to connect and to
// verify the host key.
//
// # AMIs from disks, and disks from AMIs
//
// A [Disk] is a source that becomes the AMI as it is, without an instance. It may be the
// disk of an image that another platform baked. [DownloadDisk] is the way back, and
// [ReadDisks] reads the disks of an AMI where they are, for example for package audit.
//
// # After a crash
//
// A build whose process died is continued or undone from its record; see
// bake.Options.Resume and bake.Undo. Without a record, its guest shuts itself down when
// the build expires, and a [Reaper] removes the rest by its tags.
//
// # Before a bake
//
// Before anything is created, the build checks that the AMI can reach every
// destination: its name is free or can be replaced, regions answer, roles can be
// assumed, KMS keys can encrypt, its encryption lets it be shared, launch templates and
// the instance profile exist, and parameters that must not be overwritten do not. The
// instance types must exist, run the source's architecture and be offered in the zones
// that Network selects, and the key pair must exist. A resource that the
// credentials may use but not describe is not checked.
//
// [Plan] reports what a bake would do and which calls it would make, and creates
// nothing. [Policy] returns the least-privilege IAM policy for images; print it and
// attach it to the role that bakes:
//
//	plan, err := ec2.Plan(ctx, image)
//	…
//	fmt.Println(ec2.Policy(cloud, image))
//
// Use [iampolicy.Document.With] to add the permissions of a clean-up by the same
// role.
//
// # After a bake
//
// [InstanceRefresh] rolls the AMI out to Auto Scaling groups, wave by wave, and takes it
// back if instances or checks fail; [InstanceRefresh.RollBack] puts back what a group
// ran before. [Usage] reports what runs the AMIs of a family. Package bake/rebake bakes
// images again before they grow stale.
//
// # Many bakes at once
//
// Waits poll every two seconds with one request for all builds of a region, so 500
// bakes make no more requests than a few do. Calls keep to the rates that AWS
// documents, per action and region; [CloudOptions] sets those of an account with
// other quotas. Clients created from [Cloud.Config] share the limits.
//
// # After a failure
//
// Nothing is left behind. Each resource is tagged in the call that creates it with
// the build id and an expiry (see the Tag constants), so a clean-up also finds
// resources whose creation was never confirmed. If the baking host dies, the
// instance terminates itself at its expiry, and [bake.Undo] removes the rest from
// the record. An AMI has the expiry tag until its checks have passed, and [Newest]
// ignores it before.
//
// With bake.Options.Resume another process continues the build. It looks for what
// its first step may already have created, and creates nothing twice. If the
// process ended while cleaning the guest, which then accepts no logins, the build
// restarts from the launch.
//
// # Errors
//
// AWS errors are available to errors.As as smithy.APIError. Calls are retried
// where this helps. A call that may have taken effect is repeated only if EC2
// recognizes the repetition by its token, or after looking for its result.
// Permission failures are reported as a [*DeniedError] naming the denied action and
// resource, provided the credentials may decode the message.
//
// When the instance stops or terminates while the build uses it, the command ends
// within seconds with an [*InstanceStateError]. Responses of proxies and captive
// portals are reported as such. A new resource must be shown by EC2 with the build's
// tag; one that is not, within [CloudOptions].SettleTime, is an error, and the undo
// looks for what was really created.
//
// Package ec2test has an embedded EC2 for tests.
package ec2
