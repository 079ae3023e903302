package ec2_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestWaitLatency bakes fleets of several sizes on an EC2 with AWS's latencies
// and documented token buckets, on virtual time. Each kind of wait must end less
// than two seconds, on average, after the awaited event, the number of reads must
// not grow with the fleet, and no call may be throttled. With -v it prints the
// figures, and in the long form, with BAKESTONE_LONG=1, it also bakes 500 images.
func TestWaitLatency(t *testing.T) {
	t.Parallel()
	var readsOfOne int
	sizes := []int{1, 10, 40}
	if long() { // takes more than a minute
		sizes = append(sizes, 100, 500)
	}
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, cloud := realistic(ec2test.Options{Throttle: true})
				defer server.Close()
				var events []bake.Event
				start := time.Now()
				_, err := bake.Bake(t.Context(), &bake.Options{
					Parallel: size, Observe: func(e bake.Event) { events = append(events, e) },
				}, fleet(cloud, size)...)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d bakes in %v", size, time.Since(start).Round(time.Second))
				wantShortWaits(t, server, events)
				busiest := busiestMinute(server)
				t.Logf("reads in the busiest minute: %d", busiest)
				readsOfOne = cmp.Or(readsOfOne, busiest)
				if most := 3 * readsOfOne; busiest > most {
					t.Errorf("reads in the busiest minute = %d, want at most %d, since one bake makes %d", busiest, most, readsOfOne)
				}
				t.Logf("calls: %v", callsByAction(server))
				wantNoThrottling(t, server)
			})
		})
	}
}

// wantShortWaits compares the end of each wait with the time of the awaited event.
func wantShortWaits(t *testing.T, server *ec2test.Server, events []bake.Event) {
	t.Helper()
	changed := map[string]time.Time{} // by id and state
	for _, c := range server.Changes() {
		changed[c.ID+" "+c.State] = c.Time
	}
	instance, image := map[string]string{}, map[string]string{} // ids, by name of the image
	late := map[string][]time.Duration{}                        // by kind of wait
	noticed := func(wait, id, state string, at time.Time, after time.Duration) {
		if became, ok := changed[id+" "+state]; ok {
			late[wait] = append(late[wait], at.Sub(became.Add(after)))
		} else {
			t.Errorf("%s: %s never became %s", wait, id, state)
		}
	}
	for _, e := range events {
		switch {
		case e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance":
			instance[e.Image] = e.Resource.ID
		case e.Kind == bake.ResourceCreated && e.Resource.Kind == "image":
			image[e.Image] = e.Resource.ID
		case e.Kind == bake.ResourceRemoved && e.Resource.Kind == "instance":
			noticed("terminated", e.Resource.ID, "terminated", e.Time, 0)
		case e.Kind != bake.StepFinished:
		case e.Step == "wait for instance":
			noticed("running", instance[e.Image], "running", e.Time, 0)
		case e.Step == "connect":
			noticed("answers SSH", instance[e.Image], "running", e.Time, ec2test.Realistic().Boot)
		case e.Step == "stop instance":
			noticed("stopped", instance[e.Image], "stopped", e.Time, 0)
		case e.Step == "wait for image":
			noticed("available", image[e.Image], "available", e.Time, 0)
		}
	}
	const waits, mostMean, most = 5, 2 * time.Second, 3 * time.Second
	if len(late) != waits {
		t.Errorf("kinds of waits = %d, want %d", len(late), waits)
	}
	for _, wait := range slices.Sorted(maps.Keys(late)) {
		each := late[wait]
		slices.Sort(each)
		var sum time.Duration
		for _, l := range each {
			sum += l
		}
		mean, last := sum/time.Duration(len(each)), each[len(each)-1]
		t.Logf("%-12s mean delay %5.2f s, 90%% within %5.2f s, all within %5.2f s",
			wait, mean.Seconds(), each[len(each)*9/10].Seconds(), last.Seconds())
		if mean >= mostMean || last > most || each[0] < 0 {
			t.Errorf("%s: delay = %v to %v, mean %v, want 0 to %v, mean below %v", wait, each[0], last, mean, most, mostMean)
		}
	}
}

// busiestMinute returns the number of reads in the busiest minute.
func busiestMinute(server *ec2test.Server) int {
	var at []time.Time
	for _, c := range server.Calls() {
		if reads(c) {
			at = append(at, c.Time)
		}
	}
	busiest, from := 0, 0
	for i := range at {
		for at[i].Sub(at[from]) >= time.Minute {
			from++
		}
		busiest = max(busiest, i-from+1)
	}
	return busiest
}

func callsByAction(server *ec2test.Server) map[string]int {
	count := map[string]int{}
	for _, c := range server.Calls() {
		count[c.Action]++
	}
	return count
}
