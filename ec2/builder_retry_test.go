package ec2_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestRetryAfterLostResponse loses the response of each creating call in turn.
// The call is repeated, and each resource must exist once: the bake succeeds, and
// EC2 has as many resources of each type in each place, and as many instances
// ever, as after an undisturbed bake.
func TestRetryAfterLostResponse(t *testing.T) {
	whole, calls := bakedOnce(t, nil)
	creates := regexp.MustCompile(`^(Create|Run|Copy|Register|Put|Import|Allocate|Request|Add)`)
	count, tried := map[string]int{}, 0
	for _, c := range calls {
		key := c.Account + " " + c.Region + " " + c.Action
		if count[key]++; !creates.MatchString(c.Action) {
			continue
		}
		tried++
		fault := ec2test.Fault{Action: c.Action, Region: c.Region, Account: c.Account, Nth: count[key], When: ec2test.After}
		t.Run(fmt.Sprintf("%s %s %s %d", c.Action, c.Account, c.Region, count[key]), func(t *testing.T) {
			t.Parallel()
			got, again := bakedOnce(t, &fault)
			if !slices.ContainsFunc(again, func(c ec2test.Call) bool { return c.Action == fault.Action && c.Code == "ConnectionLost" }) {
				t.Errorf("no response of %s was lost", fault.Action)
			}
			if diff := cmp.Diff(whole, got); diff != "" {
				t.Errorf("resources (-want +got):\n%s", diff)
			}
		})
	}
	// If all responses of the call are lost, the step is tried again.
	t.Run("CopyImage, all attempts", func(t *testing.T) {
		t.Parallel()
		got, _ := bakedOnce(t, &ec2test.Fault{Action: "CopyImage", Region: "us-east-1", When: ec2test.After, Times: attempts})
		if diff := cmp.Diff(whole, got); diff != "" {
			t.Errorf("resources (-want +got):\n%s", diff)
		}
	})
	const leastCreates = 14 // group, instance, image, three copies, four parameters, four template versions
	if tried < leastCreates {
		t.Errorf("creating calls = %d, want %d or more", tried, leastCreates)
	}
}

// bakedOnce bakes the definition that creates most, and counts the resources.
func bakedOnce(t *testing.T, fault *ec2test.Fault) (exists map[string]int, calls []ec2test.Call) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server, cloud := definitionServer(t)
		before := len(server.Calls())
		if fault != nil {
			server.Fail(*fault)
		}
		all := definitions()
		results, err := bake.Bake(t.Context(), nil, all[len(all)-1].image(cloud))
		if err != nil {
			t.Fatal(err)
		}
		calls = server.Calls()[before:]
		server.Mend()
		exists = map[string]int{}
		for _, r := range server.Resources(nil) {
			exists[fmt.Sprintf("%s in %s/%s", r.Type, r.Account, r.Region)]++
		}
		for _, c := range server.Changes() {
			if c.State == "running" {
				exists["instance that ran"]++
			}
		}
		for _, place := range definitionPlaces() {
			exists["template versions in "+place] = len(versions(t, awsec2.NewFromConfig(owner(server, place))))
		}
		exists["places of the AMI"] = len(results[0].Artifact.IDs())
	})
	return exists, calls
}
