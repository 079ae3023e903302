// Package ec2 bakes AMIs on Amazon EC2.
//
// Make one [Cloud] from the SDK's configuration and give it to every
// [Builder]; the builds of a process then share one request per interval for
// all they wait for, and one token bucket per API action:
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
// [Of] returns the [*AMI] of a result.
//
// # What a bake does
//
// It finds the source, picks a subnet, makes a security group that lets in SSH
// from the baking host alone, and launches an instance that requires IMDSv2.
// The client key and the instance's host key are made in memory and travel in
// the user data, merged with the caller's own: the host is verified from the
// first connection on, and there is no key pair to leak. After the
// provisioners, keys, ids, histories and the like are removed from the guest
// ([GuestCleanup]), the instance is stopped, imaged and terminated, and the security
// group deleted; [Capture] has other ways to take the image. After the checks
// the AMI is copied and shared ([Distribution]), and then published by what
// Image.Publishers lists: [SSMParameter], [LaunchTemplate], [PackerManifest],
// [JSONFile].
//
// Where EC2 has no capacity, the launch moves on through the InstanceTypes and
// subnets, and from [Spot] to on-demand; a build whose instance EC2 cannot
// start after all, or reclaims, begins its launch again. [SSH] has other ways to the instance, and
// other ways to know its host key.
//
// # Before a bake
//
// Nothing is created before it is known that the AMI can get to where it is to
// go: its name is free in every place, or its holder can be replaced; regions
// answer, roles can be assumed, KMS keys can encrypt, launch templates and the
// instance profile exist, and parameters that must not be overwritten do not. A
// key or a profile that the credentials may use but not look at is left to EC2.
//
// [Plan] finds out what a bake would do, with which calls, and creates nothing.
// [Policy] is the least IAM policy that the images need; print it and give it
// to the role that bakes:
//
//	plan, err := ec2.Plan(ctx, image)
//	…
//	fmt.Println(ec2.Policy(cloud, image))
//
// What a clean-up with the same role needs is added by iampolicy.Document.With.
//
// # Many bakes at once
//
// Waits ask every two seconds, all builds of a region in one request, so that
// five hundred bakes ask no oftener than a few do. Calls keep to the rates that
// AWS documents, action by action and region by region; [CloudOptions] takes
// those of an account that has others. Any other client joins in when it is
// made of [Cloud.Config].
//
// # What stays when something goes wrong
//
// Nothing. Everything is tagged in the call that creates it with the build's id
// and an expiry (see the Tag constants), so that a clean-up finds also what was
// created by a call whose answer was lost. If the baking host dies, the guest
// ends itself at its expiry, and [bake.Undo] removes the rest from the record.
// An AMI carries the expiry tag until its checks have passed, and [Newest]
// does not see it before.
//
// With bake.Options.Resume another process goes on instead. It looks for what the
// step it begins with may have made already, and makes nothing twice. A process
// that ended while it was cleaning the guest is the exception, since nobody can
// connect with such a guest: that step fails, and the build is undone.
//
// # Errors
//
// Errors of AWS can be reached with errors.As as smithy.APIError. Calls are
// retried where that helps; a call that may have taken effect is looked for
// before it is repeated, unless EC2 itself knows a repeated one by its token.
// What EC2 refuses for want of permission is a [*DeniedError] that says what
// was asked for of which resource, if the credentials may ask for that.
//
// The embedded EC2 for tests is in package ec2test.
package ec2
