// Package ec2test provides an embedded EC2 for tests: an API for any AWS SDK or
// command-line tool, and instances that can be reached over SSH.
//
// # Testing an image
//
// Start a server, bake an image on it, check the result, and check that nothing
// else is left:
//
//	func TestWebImage(t *testing.T) {
//		aws := ec2test.New(nil)
//		defer aws.Close()
//		cloud := ec2.NewCloud(aws.Config("us-east-1"), &ec2.CloudOptions{
//			Dial: aws.Dial, SourceAddress: aws.SourceAddress, NoCallLimits: true,
//		})
//		id := bakeWeb(t, cloud) // the code under test
//		page, err := aws.ReadFile(id, "/var/www/index.html")
//		if err != nil || !strings.Contains(string(page), "hello") {
//			t.Errorf("ReadFile(%s) = %q, %v", id, page, err)
//		}
//	}
//
// [Server.Config] configures SDK clients, and [Server.Dial] connects to
// instances. Other programs use [Server.URL]:
//
//	AWS_ENDPOINT_URL=http://127.0.0.1:43210 aws ec2 describe-images --owners self
//
// [Server.Resources] and [Server.Leftovers] show what exists, [Server.Calls]
// the API calls, and [Server.Changes] the state transitions.
//
// # The emulated EC2
//
// A server has all regions and any number of accounts. Each account has a
// default VPC with an internet gateway, a subnet in each zone and a default
// security group in each region. More networks can be created by API. Quotas that
// AWS raises on request, as those of VPCs, are not enforced.
// Images of Canonical, Amazon and Debian are public; [Server.Publish] adds
// others. Calls, parameters, filters, paging, dry runs, client tokens and error
// codes are those of EC2.
//
// Unsupported calls, parameters and filters are rejected by name, never
// ignored. The [coverage page] lists the supported ones, as does [Coverage] for
// programs. Signatures are not verified: the access key determines the account,
// and the signature's scope the region.
//
// As in a new AWS account, images cannot be made public in a region until
// DisableImageBlockPublicAccess has been called there. Snapshots can.
//
// The server also supports the calls of the EBS direct APIs, SSM Parameter Store, Auto Scaling, IAM,
// KMS, STS and the Recycle Bin that matter to images. Spot requests and fleets
// launch instances as soon as there is capacity, and replace those that
// terminate. Auto Scaling groups keep their capacity and replace unhealthy
// instances. Instance refreshes replace instances by their preferences, with
// checkpoints, bake time, failures and rollbacks. [Server.SetUnhealthy] and
// [Server.SetAlarm] are what load balancers and CloudWatch would find.
//
// # Machines
//
// Instances boot the disk of their image with the user data of the launch. By
// default a machine is a sandbox in memory: a shell with common commands and a
// file system, behind an SSH and SFTP server. CreateImage captures the disk as
// it is, so layers, clean-up and checks are really tested.
//
// Package managers record packages, systemctl keeps the state of services and runs
// those whose program is on the machine, and curl and wget read [Options].URLs.
// Other commands that a sandbox lacks end with status 127; the console says how to
// add them. [Options].Commands adds commands written in Go, and
// [Options].AnyCommand lets all that are missing succeed:
//
//	aws := ec2test.New(&ec2test.Options{Commands: map[string]ec2test.Command{
//		"nginx": func(context.Context, *ec2test.Process) int { return 0 }, // for "nginx -t"
//	}})
//
// [Server.Files], [Server.ReadFile], [Server.AMI] and [Server.CommandRuns] show what
// came out. For tests of definitions, package imagetest does so with less code.
//
// [Options].Machines replaces the sandbox by another kind of machine, such as
// virtual machines.
//
// # Disks
//
// The EBS direct APIs write and read the blocks of snapshots, with checksums,
// parents, encryption, tokens and quotas as AWS documents them:
//
//	AWS_ENDPOINT_URL=http://127.0.0.1:43210 aws ebs start-snapshot --volume-size 8
//
// Blocks are kept in one temporary file, without those that are equal or empty.
// Snapshots of such snapshots' volumes and copies have the same blocks, and
// RegisterImage makes images of them. Whether instances of these images boot
// depends on [Options].Machines: a sandbox boots from the files of an ext4 file
// system, with its own programs instead of those of the disk. A sandbox has files
// but no disk, so its own snapshots cannot be read as blocks, which fails with an
// error that says so.
//
// # Networks
//
// Security groups and routes are enforced. Unless a rule admits
// [Server.SourceAddress], and the subnet of a public address has a route to an
// internet gateway, a connection attempt hangs as in AWS. Instances that are
// booting refuse connections.
//
// With [Options].Listen, on Linux, each booted instance listens on a public
// address of its own in 127.0.0.0/8, so that other programs can reach it:
// ssh -p 2222 ubuntu@127.1.0.1. Server.Dial needs no port and works on every
// system.
//
// # Time
//
// By default operations take no time; [Realistic] makes them take as long as in
// AWS. States are computed from the clock on demand, so any clock works: the
// system clock, also inside testing/synctest, a faster one (clock.Scaled), or
// one that stands still until the test moves it (clock.NewVirtual). Inside a
// synctest bubble do not call Server.URL: a real port keeps the bubble from
// becoming idle.
//
// A bake waits by bake.Options.Clock between attempts, and by
// ec2.CloudOptions.Clock between API calls. Set both to the server's clock.
// Without ec2.CloudOptions.NoCallLimits, bakes keep to AWS's request rates even
// here.
//
// # Failures
//
// [Options].Throttle enforces AWS's documented token buckets, and
// [Options].Consistency delays the visibility of changes.
//
// [Server.Fail] makes calls fail: before they take effect, or after it with the
// response lost; by never responding; or for lack of capacity. See also
// [Server.SetCapacity], [Server.SetQuota] and [Server.SetSpotPrice].
// [Server.FailImage], [Server.TerminateInstance] and [Server.Reclaim] do what
// AWS does unasked. [Server.DisableKey] and [Server.DeleteKey] make encrypted
// resources unusable, which shows as late as it does in AWS.
//
// # Concurrency and ownership
//
// All methods of a Server may be called from any goroutine. They act on behalf
// of the test and need no permissions. [Server.Close] stops everything the
// server runs and waits for it.
//
// [coverage page]: https://github.com/bakestone-go/bakestone/blob/main/docs/ec2test-coverage.md
package ec2test
