package ec2_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

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
