package ec2_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// bakedTogether bakes the same image in n processes at the same moment, and returns the
// names of the AMIs, the errors, and how long the slowest took.
func bakedTogether(t *testing.T, server *ec2test.Server, n int, define func(*ec2.Cloud) *bake.Image) (names []string, failed []error, slowest time.Duration) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	begun := time.Now()
	for range n {
		all.Go(func() {
			cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress})
			results, err := bake.Bake(t.Context(), nil, define(cloud))
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(begun))
			if err != nil {
				failed = append(failed, err)
				return
			}
			names = append(names, amiOf(t, results[0]).Name)
		})
	}
	all.Wait()
	return names, failed, slowest
}

// TestSameImageAtSameMoment bakes an image in several processes in the same second. With
// a default name all are baked, and none waits; with a fixed name one is.
func TestSameImageAtSameMoment(t *testing.T) {
	t.Parallel()
	processes := 5
	if long() {
		processes = 12
	}
	for name, capture := range map[string]ec2.Capture{"image": {}, "snapshots": {FromSnapshots: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, _ := realistic(ec2test.Options{})
				defer server.Close()
				define := func(cloud *ec2.Cloud) *bake.Image { return captured(cloud, capture) }
				_, _, alone := bakedTogether(t, server, 1, define)
				names, failed, slowest := bakedTogether(t, server, processes, define)
				if slices.Sort(names); len(failed) > 0 || len(slices.Compact(names)) != processes {
					t.Errorf("Bake() in %d processes made %q with errors %v, want as many names", processes, names, failed)
				}
				if most := alone + 5*time.Second; slowest > most { // the settle time is ten seconds
					t.Errorf("the slowest of %d processes took %v, want at most %v", processes, slowest, most)
				}
				fixed := func(cloud *ec2.Cloud) *bake.Image {
					return configure(define(cloud), func(b *ec2.Builder) { b.AMIName = "web" })
				}
				names, failed, slowest = bakedTogether(t, server, 3, fixed)
				if len(names) != 1 || len(failed) != 2 || slowest > alone+5*time.Second {
					t.Errorf("Bake() in 3 processes with a fixed name made %q with errors %v in %v, want one in %v", names, failed, slowest, alone)
				}
				for _, err := range failed {
					wantError(t, "Bake", err, `Builder.AMIName: `)
				}
			})
		})
	}
}

// TestNameTakenDuringBake takes the AMI's name while the machine is provisioned. The
// instance is not stopped for nothing.
func TestNameTakenDuringBake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		img := configure(simple(newCloud(server)), func(b *ec2.Builder) { b.AMIName = "web" })
		img.Steps = []bake.Step{{Name: "take name", At: bake.BeforeCapture, Do: func(context.Context) error {
			takeName(t, server, testRegion, false)
			return nil
		}}}
		_, err := bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, `check image name: eu-west-1: Builder.AMIName: "web" is already the name of ami-`)
		if n := server.CallCount("StopInstances") + server.CallCount("CreateImage"); n > 0 {
			t.Errorf("calls of StopInstances and CreateImage = %d, want 0", n)
		}

		// If the name cannot be looked up again, EC2 refuses it.
		server = newServer(t, nil)
		img = configure(simple(newCloud(server)), func(b *ec2.Builder) { b.AMIName = "web" })
		img.Steps = []bake.Step{{Name: "take name", At: bake.BeforeCapture, Do: func(context.Context) error {
			takeName(t, server, testRegion, false)
			server.Fail(ec2test.Fault{Action: "DescribeImages", Code: "UnauthorizedOperation", Times: -1})
			return nil
		}}}
		_, err = bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, `create image: Builder.AMIName: another AMI got the name "web" since the launch: `, "InvalidAMIName.Duplicate")
	})
}

// TestNameTakenForCopy takes the AMI's name in the region of a copy after the bake. With
// a default name the copy gets another; with a fixed name it fails at once.
func TestNameTakenForCopy(t *testing.T) {
	for name, fixed := range map[string]string{"default": "", "fixed": "web"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				img := configure(simple(cloud), func(b *ec2.Builder) { b.AMIName, b.Distribute.Copies = fixed, ec2.CopyTo("us-east-1", "us-west-2") })
				img.Steps = []bake.Step{{Name: "take name", At: bake.AfterCapture, Do: func(ctx context.Context) error {
					out, err := cloud.Client("").DescribeImages(ctx, &awsec2.DescribeImagesInput{Owners: []string{"self"}})
					if err != nil {
						return err
					}
					_, err = cloud.Client("us-east-1").CopyImage(ctx, &awsec2.CopyImageInput{
						Name: out.Images[0].Name, SourceImageId: out.Images[0].ImageId, SourceRegion: aws.String(testRegion),
					})
					return err
				}}}
				results, err := bake.Bake(t.Context(), nil, img)
				if fixed != "" {
					wantError(t, "Bake", err, `us-east-1: Builder.AMIName: another AMI got the name "web"`)
					at := slices.IndexFunc(results[0].Steps, func(s bake.StepResult) bool { return s.Name == "promote image" })
					if got := results[0].Steps[at].Attempts; got != 1 {
						t.Errorf("attempts at promote image = %d, want 1", got)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				ami := amiOf(t, results[0])
				for region, id := range ami.IDs() {
					got, want := aws.ToString(describe(t, cloud, region, id).Name), ami.Name
					if region == "us-east-1" {
						want = img.Name + " " + results[0].Build
					}
					if got != want {
						t.Errorf("name in %s = %q, want %q", region, got, want)
					}
				}
			})
		})
	}
}
