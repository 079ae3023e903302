package ec2_test

import (
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

// realistic is a cloud with AWS's latencies, for use inside a bubble of
// testing/synctest: its time is not real.
func realistic(o ec2test.Options) (*ec2test.Server, *ec2.Cloud) {
	o.Latency = ec2test.Realistic()
	server := ec2test.New(&o)
	return server, ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress})
}

// TestSnapshotProgress wants the percentage of the snapshot about every ten
// seconds, and no request for more.
func TestSnapshotProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, cloud := realistic(ec2test.Options{})
		defer server.Close()
		var seen []int64
		var last time.Time
		_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			if e.Kind != bake.Progressed {
				return
			}
			if e.Resource.Kind != "snapshot" || e.Step != "wait for image" || e.Total != 100 {
				t.Errorf("event %+v, want a snapshot's percentage", e)
			}
			if gap := e.Time.Sub(last); gap < 9*time.Second {
				t.Errorf("two reports within %v", gap)
			}
			seen, last = append(seen, e.Done), e.Time
		}}, simple(cloud))
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) < 5 || !slices.IsSorted(seen) || seen[0] == 0 || seen[len(seen)-1] < 90 {
			t.Errorf("percentages %v, want them to grow to about 100", seen)
		}
		if asked := server.CallCount("DescribeSnapshots"); asked > len(seen)+1 {
			t.Errorf("%d requests for %d reports", asked, len(seen))
		}
	})
}

// TestClientsOfACloudShareItsLimits makes the calls of an account's bucket
// through the clients of two configurations, while the bake has some too.
func TestClientsOfACloudShareItsLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := ec2test.New(&ec2test.Options{Throttle: true})
		defer server.Close()
		cloud := ec2.NewCloud(server.Config(testRegion), nil)
		one, two := cloud.Client(""), awsec2.NewFromConfig(cloud.Config(testRegion))
		var calls sync.WaitGroup
		for i := range 200 {
			client := one
			if i%2 == 0 {
				client = two
			}
			calls.Go(func() {
				if _, err := client.DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{MaxResults: aws.Int32(5)}); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if got := throttledCalls(server); got != 0 {
			t.Errorf("%d calls were throttled", got)
		}
	})
}

func throttledCalls(server *ec2test.Server) int {
	n := 0
	for _, c := range server.Calls() {
		if c.Code == "RequestLimitExceeded" {
			n++
		}
	}
	return n
}

func TestCallLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := ec2test.New(nil)
		defer server.Close()
		cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{
			CallLimits: map[string]ec2.CallLimit{"DescribeVpcs": {Requests: ec2.Rate{Burst: 1, PerSecond: 0.1}}},
		})
		start := time.Now()
		for range 3 {
			if _, err := cloud.Client("").DescribeVpcs(t.Context(), &awsec2.DescribeVpcsInput{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took.Round(time.Second) != 20*time.Second {
			t.Errorf("three calls took %v, want 20 s at one in ten seconds", took)
		}
	})
}
