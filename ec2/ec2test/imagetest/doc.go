// Package imagetest tests definitions of images: it bakes them on an embedded EC2,
// and shows what came out.
//
//	func TestWeb(t *testing.T) {
//		env := imagetest.Start(t, nil)
//		web := env.Bake(Web(env.Cloud)) // the definition under test
//
//		web.Golden("testdata/web.txt")
//		if ami := web.AMI(); ami.Public || !slices.Equal(ami.SharedWith, []string{"210987654321"}) {
//			t.Errorf("AMI = %+v, want it shared with 210987654321 only", ami)
//		}
//		if found := web.Find("s3cret"); found != nil {
//			t.Errorf("the secret is in %v", found)
//		}
//	}
//
// No helper is needed: scripts really run, and the machines of package ec2test
// simulate what provisioners call. Package managers record packages, systemctl
// remembers the state of services, curl and wget read from Options.Server.URLs.
// Options.Server adds other programs: Commands written in Go, or AnyCommand, which
// lets everything succeed that the machines lack.
//
// # Golden files
//
// [Image.Summary] describes an image as a text: what its AMI is like, and how its
// packages, services, users and files differ from its source. [Image.Golden]
// compares the text with a file, and shows the difference. To write the files anew,
// run the tests with the flag -imagetest.update, or with BAKESTONE_UPDATE=1 in the
// environment, which packages without golden files accept as well.
//
// # Time
//
// Nothing takes time on the server, but a program under test may wait, such as
// amicleanup.AfterBake. No real time passes in a bubble of [testing/synctest]:
//
//	synctest.Test(t, func(t *testing.T) {
//		env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Latency: ec2test.Realistic()}})
//		...
//	})
package imagetest
