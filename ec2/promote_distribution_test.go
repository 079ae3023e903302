package ec2_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
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

// multiRegion is the simple image, copied to two regions and into another account.
func multiRegion(cloud *ec2.Cloud) *bake.Image {
	img := simple(cloud)
	img.Name = "spread"
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
	server := roleServer(t, nil)
	cloud := newCloud(server)
	prod := cloud.Assume(ec2.Role{ARN: prodRole})
	results, err := bake.Bake(t.Context(), fastOptions(), multiRegion(cloud))
	if err != nil {
		t.Fatal(err)
	}
	ami := amiOf(t, results[0])
	want := []string{prodAccount + "/" + testRegion, testRegion, "us-east-1", "us-west-2"}
	if got := placesOf(ami); !slices.Equal(got, want) {
		t.Fatalf("places %v, want %v", got, want)
	}
	for name, id := range ami.IDs() {
		account, region, other := strings.Cut(name, "/")
		owner := prod
		if !other {
			account, region, owner = "123456789012", name, cloud
		}
		image := describe(t, owner, region, id)
		if aws.ToString(image.OwnerId) != account || aws.ToString(image.Name) != ami.Name || image.State != "available" {
			t.Errorf("%s: %s %q of %s", name, image.State, aws.ToString(image.Name), aws.ToString(image.OwnerId))
		}
		if page, err := server.ReadFile(id, "/etc/made"); err != nil || string(page) != "made with care\n" {
			t.Errorf("%s: %q, %v", name, page, err)
		}
		if got, want := launchPermissions(t, owner, region, id), []string{friend, orgARN, unitARN}; !slices.Equal(got, want) {
			t.Errorf("%s: launch permissions %v, want %v", name, got, want)
		}
		ebs := image.BlockDeviceMappings[0].Ebs
		if got := volumePermissions(t, owner, region, *ebs.SnapshotId); !slices.Equal(got, []string{friend}) {
			t.Errorf("%s: snapshot permissions %v, want %s alone", name, got, friend)
		}
		if got := aws.ToBool(ebs.Encrypted); got != (region == "us-west-2") {
			t.Errorf("%s: encrypted %t", name, got)
		}
		at, err := time.Parse(time.RFC3339, aws.ToString(image.DeprecationTime))
		if err != nil || time.Until(at) < 89*24*time.Hour {
			t.Errorf("%s: deprecated at %s, want in 90 days", name, aws.ToString(image.DeprecationTime))
		}
		if aws.ToString(image.DeregistrationProtection) != "enabled-without-cooldown" {
			t.Errorf("%s: protection %s", name, aws.ToString(image.DeregistrationProtection))
		}
	}
	for _, r := range server.Resources(nil) {
		if r.Tags[ec2.TagBuild] != results[0].Build || r.Tags["team"] != "web" || r.Tags[ec2.TagExpires] != "" {
			t.Errorf("tags of %s: %v", r, r.Tags)
		}
	}
	if text := ami.String(); !strings.Contains(text, prodAccount+"/"+testRegion) {
		t.Errorf("the AMI as text: %s", text)
	}
	for range 2 {
		if err := ami.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantNoLeftovers(t, server)
}

func TestDistributionWithOneFailedRegion(t *testing.T) {
	// What is not copied, and what is copied and cannot be shared or protected.
	for _, action := range []string{"CopyImage", "ModifyImageAttribute", "EnableImageDeregistrationProtection"} {
		t.Run(action, func(t *testing.T) { oneFailedRegion(t, action) })
	}
}

func oneFailedRegion(t *testing.T, action string) {
	t.Helper()
	server := roleServer(t, nil)
	server.Fail(ec2test.Fault{Action: action, Region: "us-west-2", Times: -1, Code: "UnauthorizedOperation"})
	published := false
	img := multiRegion(newCloud(server))
	img.Publishers = []bake.Publisher{bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error {
		published = true
		return nil
	}}}
	results, err := bake.Bake(t.Context(), fastOptions(), img)
	var failed *ec2.DistributionError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Region != "us-west-2" ||
		!strings.Contains(err.Error(), "image spread: promote image: the artifact is good, but: us-west-2: ") {
		t.Fatalf("error %v, want that us-west-2 failed", err)
	}
	r := results[0]
	if r.Status != bake.StatusFailed || r.Artifact == nil || published {
		t.Fatalf("status %s, artifact %v, published %t", r.Status, r.Artifact, published)
	}
	want := []string{prodAccount + "/" + testRegion, testRegion, "us-east-1"}
	if got := placesOf(r.Artifact); !slices.Equal(got, want) {
		t.Errorf("places %v, want %v", got, want)
	}
	for _, left := range server.Resources(nil) {
		if left.Region == "us-west-2" || left.Tags[ec2.TagExpires] != "" {
			t.Errorf("left behind, or not finished: %s %v", left, left.Tags)
		}
	}
	if got, want := server.CallCount("CopyImage"), 3; got != want && action != "CopyImage" || got != want+2 && action == "CopyImage" {
		t.Errorf("%d calls of CopyImage, want one for each place, and three where that is what failed", got)
	}
	server.Mend()
	destroy(t, r.Artifact)
	wantNoLeftovers(t, server)
}

func TestAllOrNothing(t *testing.T) {
	server := roleServer(t, nil)
	server.Fail(ec2test.Fault{Action: "CopyImage", Region: "us-west-2", Times: -1, Code: "UnauthorizedOperation"})
	img := setDistribution(multiRegion(newCloud(server)), func(d *ec2.Distribution) { d.AllOrNothing, d.Attempts = true, 1 })
	results, err := bake.Bake(t.Context(), fastOptions(), img)
	var failed *ec2.DistributionError
	if !errors.As(err, &failed) || results[0].Artifact != nil {
		t.Errorf("error %v, artifact %v", err, results[0].Artifact)
	}
	wantNoLeftovers(t, server)
}

// A copy that EC2 begins and cannot finish is made anew; what succeeded is not.
func TestCopyRetryAfterFailure(t *testing.T) {
	clock := clock.Scaled(60)
	server := roleServer(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{Image: 30 * time.Second, Snapshot: 20 * time.Second}})
	o := cloudOptions(server)
	o.Clock = clock
	cloud := ec2.NewCloud(server.Config(testRegion), o)
	img := setDistribution(multiRegion(cloud), func(d *ec2.Distribution) { d.Copies = ec2.CopyTo("us-east-1", "us-west-2") })
	var broken atomic.Bool
	results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock, Observe: func(e bake.Event) {
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
	for _, c := range server.Calls() {
		if c.Action == "CopyImage" {
			count[c.Region]++
		}
	}
	if !maps.Equal(count, map[string]int{"us-east-1": 1, "us-west-2": 2}) {
		t.Errorf("copies begun: %v", count)
	}
	destroy(t, results[0].Artifact)
	wantNoLeftovers(t, server)
}

// EC2 copies so many snapshots into a region at once, and no more.
func TestCopyLimit(t *testing.T) {
	clock := clock.Scaled(200)
	server := newServer(t, &ec2test.Options{Clock: clock, Latency: ec2test.Latency{Image: 20 * time.Second, Snapshot: 20 * time.Second}})
	o := cloudOptions(server)
	o.Clock, o.CallTimeout = clock, time.Hour
	cloud := ec2.NewCloud(server.Config(testRegion), o)
	images := fleet(cloud, 30)
	for _, img := range images {
		setDistribution(img, func(d *ec2.Distribution) { d.Copies, d.Attempts = ec2.CopyTo("us-east-1"), 1 })
	}
	if _, err := bake.Bake(t.Context(), &bake.Options{Clock: clock}, images...); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyCopies(t *testing.T) {
	server := roleServer(t, nil)
	img := setDistribution(multiRegion(newCloud(server)), func(d *ec2.Distribution) { d.OnlyCopies = true })
	img.Fingerprint = "1"
	for _, status := range []bake.Status{bake.StatusBaked, bake.StatusReused} {
		results, err := bake.Bake(t.Context(), fastOptions(), img)
		if err != nil {
			t.Fatal(err)
		}
		ami := amiOf(t, results[0])
		want := []string{prodAccount + "/" + testRegion, "us-east-1", "us-west-2"}
		if got := placesOf(ami); !slices.Equal(got, want) || ami.Region != "us-east-1" || results[0].Status != status {
			t.Errorf("%s: places %v, first %s", results[0].Status, got, ami.Region)
		}
		if status == bake.StatusReused {
			destroy(t, ami)
		}
	}
	wantNoLeftovers(t, server)
}

// What is not everywhere is no reason not to bake.
func TestReuseNeedsAllCopies(t *testing.T) {
	server := roleServer(t, nil)
	img := setDistribution(multiRegion(newCloud(server)), func(d *ec2.Distribution) { d.Protection = ec2.Unprotected })
	img.Fingerprint = "1"
	bakeIt := func(want bake.Status) *ec2.AMI {
		results, err := bake.Bake(t.Context(), fastOptions(), img)
		if err != nil || results[0].Status != want {
			t.Fatalf("%s, %v; want %s", results[0].Status, err, want)
		}
		return amiOf(t, results[0])
	}
	first := bakeIt(bake.StatusBaked)
	again := bakeIt(bake.StatusReused)
	if !maps.Equal(first.IDs(), again.IDs()) {
		t.Errorf("found %v, baked %v", again.IDs(), first.IDs())
	}
	_, err := newCloud(server).Client("us-west-2").DeregisterImage(t.Context(), &awsec2.DeregisterImageInput{ImageId: aws.String(first.IDs()["us-west-2"])})
	if err != nil {
		t.Fatal(err)
	}
	bakeIt(bake.StatusBaked)
}

func TestRoleNotAssumable(t *testing.T) {
	server := newServer(t, nil)
	addProd(server, ec2test.Role{ARN: prodRole, ExternalID: "secret word"})
	_, err := bake.Bake(t.Context(), fastOptions(), multiRegion(newCloud(server)))
	wantError(t, "Bake", err, "check destinations: "+testRegion+": Builder.Distribute.Copies[2].Cloud: ", "AccessDenied")
	if n := server.CallCount("RunInstances"); n > 0 {
		t.Errorf("%d instances were launched", n)
	}
	account, err := newCloud(server).Assume(ec2.Role{ARN: prodRole, ExternalID: "secret word"}).Account(t.Context())
	if err != nil || account != prodAccount {
		t.Errorf("with the external id: %s, %v", account, err)
	}
}

// TestDistributionWithEachCallFailing is TestBakeWithEachCallFailing for the calls that
// copies and permissions add.
func TestDistributionWithEachCallFailing(t *testing.T) {
	plain := map[nthCall]bool{}
	for _, c := range callsOfBake(t, simple) {
		plain[c] = true
	}
	calls := slices.DeleteFunc(callsOfBake(t, multiRegion), func(c nthCall) bool { return plain[c] })
	if len(calls) < 20 {
		t.Fatalf("copies made only %d calls: %v", len(calls), calls)
	}
	breakCalls(t, calls, multiRegion)
}
