package ec2_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const (
	prodAccount = "210987654321"
	prodRole    = "arn:aws:iam::210987654321:role/images"
	friend      = "111122223333"
	orgARN      = "arn:aws:organizations::111122223333:organization/o-abcdefghij"
	unitARN     = "arn:aws:organizations::111122223333:ou/o-abcdefghij/ou-abcd-12345678"
)

// multiRegion returns the simple image with copies in two regions and another account.
func multiRegion(cloud *ec2.Cloud) *bake.Image {
	img := simple(cloud)
	img.Name = "copied"
	prod := cloud.Assume(ec2.Role{ARN: prodRole})
	img.Builder = ec2.Builder{
		Cloud: cloud, Source: ubuntu(),
		Distribute: ec2.Distribution{
			Copies: []ec2.Copy{
				{Region: "us-east-1"},
				{Region: "us-west-2", KMSKey: "alias/west"},
				{Region: testRegion, Cloud: prod},
			},
			LaunchPermissions:   ec2.Permissions{Accounts: []string{friend}, Organizations: []string{orgARN}, OrganizationalUnits: []string{unitARN}},
			SnapshotPermissions: ec2.Permissions{Accounts: []string{friend}},
			DeprecateAfter:      90 * 24 * time.Hour,
			Protection:          ec2.Protected,
		},
	}
	return img
}

func TestDistribution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		cloud := newCloud(server)
		prod := cloud.Assume(ec2.Role{ARN: prodRole})
		results, err := bake.Bake(t.Context(), nil, multiRegion(cloud))
		if err != nil {
			t.Fatal(err)
		}
		ami := amiOf(t, results[0])
		want := []string{prodAccount + "/" + testRegion, testRegion, "us-east-1", "us-west-2"}
		if got := placesOf(ami); !slices.Equal(got, want) {
			t.Fatalf("places of the AMI = %v, want %v", got, want)
		}
		for name, id := range ami.IDs() {
			account, region, other := strings.Cut(name, "/")
			owner := prod
			if !other {
				account, region, owner = mainAccount, name, cloud
			}
			image := describe(t, owner, region, id)
			if aws.ToString(image.OwnerId) != account || aws.ToString(image.Name) != ami.Name || image.State != "available" {
				t.Errorf("%s: AMI %q of %s is %s, want %q of %s, available", name, aws.ToString(image.Name), aws.ToString(image.OwnerId), image.State, ami.Name, account)
			}
			wantFile(t, server, id, "/etc/made", "made with care\n")
			if got, want := launchPermissions(t, owner, region, id), []string{friend, orgARN, unitARN}; !slices.Equal(got, want) {
				t.Errorf("%s: launch permissions = %v, want %v", name, got, want)
			}
			ebs := image.BlockDeviceMappings[0].Ebs
			if got := volumePermissions(t, owner, region, *ebs.SnapshotId); !slices.Equal(got, []string{friend}) {
				t.Errorf("%s: snapshot permissions = %v, want only %s", name, got, friend)
			}
			if got := aws.ToBool(ebs.Encrypted); got != (region == "us-west-2") {
				t.Errorf("%s: encrypted = %t, want %t", name, got, !got)
			}
			at, err := time.Parse(time.RFC3339, aws.ToString(image.DeprecationTime))
			if err != nil || time.Until(at) < 89*24*time.Hour {
				t.Errorf("%s: deprecation time = %s, want in 90 days", name, aws.ToString(image.DeprecationTime))
			}
			if aws.ToString(image.DeregistrationProtection) != "enabled-without-cooldown" {
				t.Errorf("%s: deregistration protection = %s, want enabled-without-cooldown", name, aws.ToString(image.DeregistrationProtection))
			}
		}
		for _, r := range server.Resources(nil) {
			if r.Tags[ec2.TagBuild] != results[0].Build || r.Tags["team"] != "web" || r.Tags[ec2.TagExpires] != "" {
				t.Errorf("tags of %s = %v, want the image's and the build's without %s", r, r.Tags, ec2.TagExpires)
			}
		}
		if text := ami.String(); !strings.Contains(text, prodAccount+"/"+testRegion) {
			t.Errorf("AMI.String() = %q, want the other account's place in it", text)
		}
		for range 2 {
			if err := ami.Destroy(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantNoLeftovers(t, server)
	})
}

func TestDistributionWithOneFailedRegion(t *testing.T) {
	t.Parallel()
	// The copy fails, or it cannot be shared or protected.
	for _, action := range []string{"CopyImage", "ModifyImageAttribute", "EnableImageDeregistrationProtection"} {
		for code, attempts := range map[string]int{
			"IncorrectState":        3,
			"UnauthorizedOperation": 1, "OperationNotPermitted": 1, "InvalidParameter": 1, "InvalidParameterValue": 1, "UnsupportedOperation": 1,
		} {
			t.Run(action+" "+code, func(t *testing.T) { oneFailedRegion(t, action, code, attempts) })
		}
	}
}

// oneFailedRegion bakes while EC2 refuses an action in one region. attempts is how often
// the promotion is tried.
func oneFailedRegion(t *testing.T, action, code string, attempts int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		server.Fail(ec2test.Fault{Action: action, Region: "us-west-2", Times: -1, Code: code})
		published := false
		img := multiRegion(newCloud(server))
		img.Publishers = []bake.Publisher{bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error {
			published = true
			return nil
		}}}
		results, err := bake.Bake(t.Context(), nil, img)
		var failed *ec2.DistributionError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Region != "us-west-2" ||
			!strings.Contains(err.Error(), "image copied: promote image: the artifact is good, but: us-west-2: ") {
			t.Fatalf("Bake() error = %v, want a DistributionError of us-west-2", err)
		}
		r := results[0]
		if r.Status != bake.StatusFailed || r.Artifact == nil || published {
			t.Fatalf("status %s, artifact %v, published %t, want %s, an artifact, false", r.Status, r.Artifact, published, bake.StatusFailed)
		}
		want := []string{prodAccount + "/" + testRegion, testRegion, "us-east-1"}
		if got := placesOf(r.Artifact); !slices.Equal(got, want) {
			t.Errorf("places of the AMI = %v, want %v", got, want)
		}
		for _, left := range server.Resources(nil) {
			if left.Region == "us-west-2" || left.Tags[ec2.TagExpires] != "" {
				t.Errorf("%s has tags %v, want nothing in us-west-2 and no tag %s", left, left.Tags, ec2.TagExpires)
			}
		}
		wantCopies := 3
		if action == "CopyImage" {
			wantCopies += attempts - 1
		}
		if step := r.Steps[slices.IndexFunc(r.Steps, func(s bake.StepResult) bool { return s.Name == "promote image" })]; step.Attempts != attempts {
			t.Errorf("attempts at %s = %d, want %d", step.Name, step.Attempts, attempts)
		}
		if got := server.CallCount("CopyImage"); got != wantCopies {
			t.Errorf("calls of CopyImage = %d, want %d", got, wantCopies)
		}
		server.Mend()
		destroy(t, r.Artifact)
		wantNoLeftovers(t, server)
	})
}

func TestAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		server.Fail(ec2test.Fault{Action: "CopyImage", Region: "us-west-2", Times: -1, Code: "UnauthorizedOperation"})
		img := setDistribution(multiRegion(newCloud(server)), func(d *ec2.Distribution) { d.AllOrNothing, d.Attempts = true, 1 })
		results, err := bake.Bake(t.Context(), nil, img)
		var failed *ec2.DistributionError
		if !errors.As(err, &failed) || results[0].Artifact != nil {
			t.Errorf("Bake() error = %v, artifact %v, want a DistributionError and nil", err, results[0].Artifact)
		}
		wantNoLeftovers(t, server)
	})
}

// TestCopyRetryAfterFailure checks that only a copy that EC2 fails to complete is repeated.
func TestCopyRetryAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, &ec2test.Options{Latency: ec2test.Latency{Image: 30 * time.Second, Snapshot: 20 * time.Second}})
		cloud := newCloud(server)
		img := setDistribution(multiRegion(cloud), func(d *ec2.Distribution) { d.Copies = ec2.CopyTo("us-east-1", "us-west-2") })
		var broken atomic.Bool
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			_, id, copying := strings.Cut(e.Text, " to us-west-2 as ")
			if copying && broken.CompareAndSwap(false, true) {
				if err := server.FailImage(id, "the key is disabled"); err != nil {
					t.Error(err)
				}
			}
		}}, img)
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for _, c := range callsOf(server.Calls(), "CopyImage") {
			count[c.Region]++
		}
		if want := map[string]int{"us-east-1": 1, "us-west-2": 2}; !maps.Equal(count, want) {
			t.Errorf("calls of CopyImage by region = %v, want %v", count, want)
		}
		destroy(t, results[0].Artifact)
		wantNoLeftovers(t, server)
	})
}

// TestCopyLimit makes more copies than EC2 allows in a region at once.
func TestCopyLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server, cloud := realistic(ec2test.Options{})
		defer server.Close()
		images := fleet(cloud, 30)
		for _, img := range images {
			setDistribution(img, func(d *ec2.Distribution) { d.Copies, d.Attempts = ec2.CopyTo("us-east-1"), 1 })
		}
		if _, err := bake.Bake(t.Context(), nil, images...); err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(server.Calls(), func(c ec2test.Call) bool { return c.Action == "CopyImage" && c.Code == "ResourceLimitExceeded" }) {
			t.Error("no call of CopyImage exceeded the limit")
		}
	})
}

func TestOnlyCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		img := setDistribution(multiRegion(newCloud(server)), func(d *ec2.Distribution) { d.OnlyCopies = true })
		img.Fingerprint = "1"
		for _, status := range []bake.Status{bake.StatusBaked, bake.StatusReused} {
			results, err := bake.Bake(t.Context(), nil, img)
			if err != nil {
				t.Fatal(err)
			}
			ami := amiOf(t, results[0])
			want := []string{prodAccount + "/" + testRegion, "us-east-1", "us-west-2"}
			if got := placesOf(ami); !slices.Equal(got, want) || ami.Region != "us-east-1" || results[0].Status != status {
				t.Errorf("Bake() = %s with places %v, the first in %s, want %s with %v, us-east-1", results[0].Status, got, ami.Region, status, want)
			}
			if status == bake.StatusReused {
				destroy(t, ami)
			}
		}
		wantNoLeftovers(t, server)
	})
}

// TestReuseNeedsAllCopies checks that an AMI with a missing copy is baked again.
func TestReuseNeedsAllCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		img := setDistribution(multiRegion(newCloud(server)), func(d *ec2.Distribution) { d.Protection = ec2.Unprotected })
		img.Fingerprint = "1"
		wantStatus := func(want bake.Status) *ec2.AMI {
			results, err := bake.Bake(t.Context(), nil, img)
			if err != nil || results[0].Status != want {
				t.Fatalf("Bake() = %s, %v, want %s", results[0].Status, err, want)
			}
			return amiOf(t, results[0])
		}
		first := wantStatus(bake.StatusBaked)
		again := wantStatus(bake.StatusReused)
		if !maps.Equal(first.IDs(), again.IDs()) {
			t.Errorf("IDs of the reused AMI = %v, want %v", again.IDs(), first.IDs())
		}
		_, err := newCloud(server).Client("us-west-2").DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: aws.String(first.IDs()["us-west-2"])})
		if err != nil {
			t.Fatal(err)
		}
		wantStatus(bake.StatusBaked)
	})
}

// TestCopiesWithHomeRegion names the region of the bake among the copies. The AMI is
// not copied there, but is shared and deprecated as everywhere, published once, found
// again, and other copies keep their index in errors.
func TestCopiesWithHomeRegion(t *testing.T) {
	for name, change := range map[string]func(*ec2.Builder){
		"region of the Cloud":   func(*ec2.Builder) {},
		"region of the Builder": func(b *ec2.Builder) { b.Region = testRegion },
		"with the Cloud":        func(b *ec2.Builder) { b.Distribute.Copies[0].Cloud = b.Cloud },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := roleServer(t, nil)
				cloud := newCloud(server)
				img := multiRegion(cloud)
				img.Fingerprint = "1"
				img.Publishers = []bake.Publisher{ec2.SSMParameter{Name: "/web", Regions: []string{testRegion, "us-west-2"}, PlainText: true}}
				configure(img, func(b *ec2.Builder) {
					b.Distribute.Copies = slices.Insert(b.Distribute.Copies, 0, ec2.Copy{Region: testRegion})
					b.Distribute.Protection = ec2.Unprotected
					change(b)
				})
				plan, err := ec2.Plan(t.Context(), img)
				if err != nil {
					t.Fatal(err)
				}
				var planned []string
				for _, r := range plan.Images[0].Creates {
					if r.Kind == "image" {
						planned = append(planned, r.Region)
					}
				}
				if want := []string{testRegion, "us-east-1", "us-west-2", testRegion}; !slices.Equal(planned, want) { // the last in another account
					t.Errorf("Plan() creates images in %v, want %v", planned, want)
				}
				for _, status := range []bake.Status{bake.StatusBaked, bake.StatusReused} {
					results, err := bake.Bake(t.Context(), nil, img)
					if err != nil || results[0].Status != status {
						t.Fatalf("Bake() = %s, %v, want %s", results[0].Status, err, status)
					}
					ami := amiOf(t, results[0])
					if want := []string{prodAccount + "/" + testRegion, testRegion, "us-east-1", "us-west-2"}; !slices.Equal(placesOf(ami), want) {
						t.Errorf("places of the AMI = %v, want %v", placesOf(ami), want)
					}
					if got := launchPermissions(t, cloud, testRegion, ami.ImageID); !slices.Contains(got, friend) {
						t.Errorf("launch permissions of the AMI = %v, want %s among them", got, friend)
					}
					if i := describe(t, cloud, testRegion, ami.ImageID); aws.ToString(i.DeprecationTime) == "" {
						t.Error("the AMI has no deprecation time")
					}
				}
				if n := server.CallCount("CopyImage"); n != 3 {
					t.Errorf("calls of CopyImage = %d, want 3", n)
				}
				if n := server.CallCount("PutParameter"); n != 3 { // the last in another account
					t.Errorf("calls of PutParameter = %d, want 3", n)
				}
				configure(img, func(b *ec2.Builder) { b.Distribute.Copies[2].KMSKey = "alias/none" })
				_, err = ec2.Plan(t.Context(), img)
				wantError(t, "Plan", err, "us-west-2: Builder.Distribute.Copies[2].KMSKey: alias/none")
			})
		})
	}
}

func TestRoleNotAssumable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		addProd(server, ec2test.Role{ARN: prodRole, ExternalID: "secret word"})
		_, err := bake.Bake(t.Context(), nil, multiRegion(newCloud(server)))
		wantError(t, "Bake", err, "check destinations: "+testRegion+": Builder.Distribute.Copies[2].Cloud: ", "AccessDenied")
		wantNoLaunch(t, server)
		account, err := newCloud(server).Assume(ec2.Role{ARN: prodRole, ExternalID: "secret word"}).Account(t.Context())
		if err != nil || account != prodAccount {
			t.Errorf("Account() with the external id = %s, %v, want %s", account, err, prodAccount)
		}
	})
}

// TestDistributionWithEachCallFailing does the same as TestBakeWithEachCallFailing
// for the calls that copies and permissions add.
func TestDistributionWithEachCallFailing(t *testing.T) {
	plain := map[nthCall]bool{}
	for _, c := range callsOfBake(t, simple) {
		plain[c] = true
	}
	calls := slices.DeleteFunc(callsOfBake(t, multiRegion), func(c nthCall) bool { return plain[c] })
	if len(calls) < 20 {
		t.Fatalf("calls that copies add = %v, want 20 or more", calls)
	}
	breakCalls(t, calls, 4, multiRegion)
}
