package ec2_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestSnapshotProgress checks that the snapshot's percentage is reported about
// every ten seconds, by one request each.
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
				t.Errorf("event = %+v, want a snapshot's percentage", e)
			}
			if gap := e.Time.Sub(last); gap < 9*time.Second {
				t.Errorf("time between two reports = %v, want 9s or more", gap)
			}
			seen, last = append(seen, e.Done), e.Time
		}}, simple(cloud))
		if err != nil {
			t.Fatal(err)
		}
		if len(seen) < 5 || !slices.IsSorted(seen) || seen[0] == 0 || seen[len(seen)-1] < 90 {
			t.Errorf("percentages = %v, want 5 or more that grow to 90 or more", seen)
		}
		if asked := server.CallCount("DescribeSnapshots"); asked > len(seen)+1 {
			t.Errorf("calls of DescribeSnapshots = %d, want at most %d for %d reports", asked, len(seen)+1, len(seen))
		}
	})
}
