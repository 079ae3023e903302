// Package ec2test is an EC2 to run in a test: an API that any AWS SDK or
// command-line tool can be pointed at, and instances that answer SSH.
//
// # A test of an image
//
// Start a server, bake on it, look at what came out, and check that nothing
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
//			t.Errorf("the page is %q, %v", page, err)
//		}
//	}
//
// Other code uses Config for SDK clients, and Dial to reach instances. Other
// programs use URL:
//
//	AWS_ENDPOINT_URL=http://127.0.0.1:43210 aws ec2 describe-images --owners self
//
// # What it is like
//
// It has all regions and any number of accounts, each with a default VPC,
// three subnets and a default security group, and images of Canonical, Amazon
// and Debian. Calls, parameters, filters, paging, dry runs, client tokens and
// error codes are EC2's own. What it does not know it refuses by name, and
// never ignores; the file COVERAGE.md lists what it does know, which Coverage
// gives to programs. Signatures are not verified: the access key says the
// account, and the scope of the signature says the region.
//
// As in an account of AWS that never had a public image, public images are
// blocked until DisableImageBlockPublicAccess is called, region by region;
// public snapshots are not.
//
// Instances boot the disk of their image, with the user data of their launch.
// By default a machine is a sandbox in memory: a shell with the usual small
// commands on a file system of its own, behind an SSH and SFTP server.
// Commands that it has not got, such as apt-get, are answered by the funcs of
// Options.Commands; any other ends with status 127. CreateImage takes the disk
// as it is, so that layers, clean-up and checks are really tested. Put
// something else behind Options.Machines for another kind of machine.
//
// The packages of an image are then installed in no time, and are nowhere:
//
//	done := func(context.Context, *ec2test.Process) int { return 0 }
//	aws := ec2test.New(&ec2test.Options{Commands: map[string]ec2test.Command{
//		"apt-get": done, "dpkg-query": done, // all that provision.Packages calls on Ubuntu
//	}})
//
// Security groups are obeyed: without a rule that lets SourceAddress in, a
// connection hangs as it does in AWS. An instance that still boots refuses.
//
// Beside EC2 the same server answers the Parameter Store of SSM, Auto Scaling
// and the retention rules of the Recycle Bin, as far as they matter to images.
// Auto Scaling groups, spot requests and fleets are data: they name images and
// launch templates, and run nothing.
//
// # Time
//
// By default nothing takes time. Realistic gives every transition what it
// takes in AWS. States are worked out from the clock when someone asks, so any
// clock will do: the real one, also inside testing/synctest, one that runs
// faster (Scaled), or one that stands still until the test moves it
// (NewVirtual). Inside synctest do not call URL: a real port keeps a bubble
// from being idle.
//
// What waits in a bake, such as a second attempt, waits by bake.Options.Clock,
// and calls to the API by that of ec2.CloudOptions: give both the same clock as
// the server. With NoCallLimits many images are not slowed down to the rates of
// AWS, which a bake otherwise keeps to here as well.
//
// # Trouble
//
// Options.Throttle has AWS's documented token buckets, Options.Consistency its
// delay between a change and its being seen, which Options.ConsistencySeed makes
// as uneven as there. Fail makes calls fail by rule:
// before they take effect, or after it with their answer lost; never
// answering; or without capacity. FailImage, TerminateInstance and Reclaim are
// what AWS does by itself. AddKey, ShareKey, DisableKey and DeleteKey are KMS,
// whose refusals show late, as they do in AWS. Calls tells what was called, and
// Leftovers what still exists.
//
// # Real addresses
//
// With Options.Listen, on Linux, every booted instance has an address of its
// own in 127.0.0.0/8 as its public one, and listens there on Options.Port, so
// that ssh -p 2222 ubuntu@127.1.0.1 and other programs reach it. Dial needs no
// port and works on every system.
//
// # Ownership and errors
//
// Close ends everything that the server runs and waits for it. The methods of
// a Server are for the test that owns it and need no rights; all of them may
// be called from any goroutine.
package ec2test
