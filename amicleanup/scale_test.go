package amicleanup_test

import (
	"errors"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// scaleImages is the variable for the number of images of TestAtScale. The default is
// 5,000.
const scaleImages = "AMICLEANUP_SCALE"

// TestAtScale plans over all images of an account and removes some of them under
// documented throttling, with failures: lost responses, snapshots in use for a while, an
// image that is protected and another that is launched after the plan, and a missing
// permission. Run it with AMICLEANUP_SCALE=100000 -v for the figures of the design page.
func TestAtScale(t *testing.T) {
	images := 5_000
	if n, err := strconv.Atoi(os.Getenv(scaleImages)); err == nil {
		images = n
	}
	synctest.Test(t, func(t *testing.T) {
		srv := ec2test.New(&ec2test.Options{Regions: []string{where}, Throttle: true, Latency: ec2test.Latency{Call: 50 * time.Millisecond}})
		defer srv.Close()
		ids := publishMany(srv, images)
		drop := max(1, 20_000/images) // of each hundred
		var want []string             // the oldest ones
		for i := range images {
			if i%100 < drop {
				want = append(want, ids[i])
			}
		}
		c := &amicleanup.Cleaner{
			SettleTime: atOnce,
			Targets:    []amicleanup.Target{amicleanup.Connect(srv.Config(where), nil)},
			Policy: amicleanup.Policy{
				Select: amicleanup.Select{Name: "{group} {unix}"},
				Keep:   []amicleanup.Rule{amicleanup.Newest(100 - drop), amicleanup.InUse(inuse.Standard()...)},
			},
		}
		begun := time.Now()
		plan := mustPlan(t, c)
		planned := time.Since(begun)
		slices.Sort(want)
		if got := removals(plan); !slices.Equal(got, want) {
			t.Fatalf("%d removals, want %d", len(got), len(want))
		}

		kept := trouble(t, srv, want)
		begun = time.Now()
		result, err := c.Apply(t.Context(), plan)
		if !errors.As(err, new(*amicleanup.TargetError)) || result.Count(amicleanup.NotTried) == 0 {
			t.Fatalf("without permission: %v, %d not tried", err, result.Count(amicleanup.NotTried))
		}
		runs := 1
		for ; result.Count(amicleanup.NotTried) > 0 && runs < 5; runs++ {
			result, _ = c.Apply(t.Context(), plan) // failures show in the images left
		}
		took := time.Since(begun)
		srv.Mend()

		checkLeft(t, srv, ids, want, kept)
		most, limited := time.Duration(len(want))*time.Second/5+30*time.Second, 0
		if took > most {
			t.Errorf("the removal took %s, want at most %s: 5 a second", took, most)
		}
		for _, call := range srv.Calls() {
			if call.Code == "RequestLimitExceeded" {
				limited++
			}
		}
		if limited > 0 {
			t.Errorf("%d calls were throttled: our limits are to prevent that", limited)
		}
		t.Logf("%d images, %d removed in %d runs: planned in %s, removed in %s of the server's time", images, len(want)-len(kept), runs, planned, took)
		calls := map[string]int{}
		for _, call := range srv.Calls() {
			calls[call.Action]++
		}
		for _, action := range slices.Sorted(maps.Keys(calls)) {
			t.Logf("%6d %s", calls[action], action)
		}
	})
}

// trouble arranges what goes wrong, and returns the images that must stay.
func trouble(t *testing.T, srv *ec2test.Server, want []string) (kept []string) {
	t.Helper()
	client := awsec2.NewFromConfig(srv.Config(where))
	protected, launched := want[3], want[7]
	if _, err := client.EnableImageDeregistrationProtection(t.Context(), &awsec2.EnableImageDeregistrationProtectionInput{ImageId: &protected}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RunInstances(t.Context(), &awsec2.RunInstancesInput{ImageId: &launched, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), InstanceType: "t3.micro"}); err != nil {
		t.Fatal(err)
	}
	is := func(some []string) func(url.Values) bool {
		return func(form url.Values) bool { return slices.Contains(some, form.Get("ImageId")) }
	}
	// One in ten answers gets lost after the image is gone.
	for i := 10; i < len(want); i += 10 {
		srv.Fail(ec2test.Fault{Action: "DeregisterImage", Match: is(want[i : i+1]), When: ec2test.After})
	}
	// Their snapshots are then deleted one by one, and are in use at first.
	srv.Fail(ec2test.Fault{Action: "DeleteSnapshot", Code: "InvalidSnapshot.InUse", Times: 3})
	// In the middle the permission is missing for one call.
	srv.Fail(ec2test.Fault{Action: "DeregisterImage", Match: is(want[len(want)/2 : len(want)/2+1]), Code: "UnauthorizedOperation"})
	srv.Fail(ec2test.Fault{Action: "DescribeImages", Code: "InternalError", Nth: 20, Times: 2})
	return []string{protected, launched}
}

// checkLeft checks that exactly the planned images are gone, each removed once.
func checkLeft(t *testing.T, srv *ec2test.Server, ids, planned, kept []string) {
	t.Helper()
	client := awsec2.NewFromConfig(amicleanup.Connect(srv.Config(where), nil).Config)
	have := map[string]bool{}
	pages := awsec2.NewDescribeImagesPaginator(client, &awsec2.DescribeImagesInput{Owners: []string{"self"}, MaxResults: aws.Int32(1000)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range page.Images {
			have[*img.ImageId] = true
		}
	}
	for _, id := range ids {
		goes := slices.Contains(planned, id) && !slices.Contains(kept, id)
		if have[id] == goes {
			t.Errorf("image %s is there: %v, want %v", id, have[id], !goes)
		}
	}
	snapshots := 0
	snapPages := awsec2.NewDescribeSnapshotsPaginator(client, &awsec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, MaxResults: aws.Int32(1000)})
	for snapPages.HasMorePages() {
		page, err := snapPages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		snapshots += len(page.Snapshots)
	}
	if snapshots != len(have) {
		t.Errorf("%d snapshots are left of %d images", snapshots, len(have))
	}
	done := map[string]int{} // how often an image was removed, as the server knows
	for _, call := range srv.Calls() {
		if call.Action == "DeregisterImage" && call.Code == "" {
			done[call.Params.Get("ImageId")]++
		}
	}
	for id, n := range done {
		if n != 1 || slices.Contains(kept, id) || !slices.Contains(planned, id) {
			t.Errorf("image %s was removed %d times", id, n)
		}
	}
}
