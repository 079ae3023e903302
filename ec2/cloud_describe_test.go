package ec2_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestWaitLatency bakes fleets of several sizes on an EC2 with AWS's
// latencies and documented token buckets, where the computer's own speed does
// not count. It wants every kind of wait to end less than two seconds, on
// average, after what it waits for; calls that only look not to grow with the
// fleet; and nobody to see a throttled call. With -v it prints the figures, and
// with EC2_SCALE set it bakes five hundred, too.
func TestWaitLatency(t *testing.T) {
	var ofOne int
	sizes := []int{1, 10, 100}
	if os.Getenv("EC2_SCALE") != "" { // most of a minute of work
		sizes = append(sizes, 500)
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
				looks := busiestMinute(server)
				t.Logf("looks in the busiest minute: %d", looks)
				ofOne = cmp.Or(ofOne, looks)
				if most := 3 * ofOne; looks > most {
					t.Errorf("%d calls that only look in a minute, want %d at most: one bake makes %d", looks, most, ofOne)
				}
				t.Logf("calls: %v", callsByAction(server))
				if n := throttledCalls(server); n > 0 {
					t.Errorf("%d calls were throttled", n)
				}
			})
		})
	}
}

// wantShortWaits compares when the waits of all builds ended with when they could.
func wantShortWaits(t *testing.T, server *ec2test.Server, events []bake.Event) {
	t.Helper()
	changed := map[string]time.Time{} // id and state
	for _, c := range server.Changes() {
		changed[c.ID+" "+c.State] = c.Time
	}
	instance, image := map[string]string{}, map[string]string{} // by name of the image
	late := map[string][]time.Duration{}                        // by the wait
	noticed := func(wait, id, state string, at time.Time, after time.Duration) {
		if became, ok := changed[id+" "+state]; ok {
			late[wait] = append(late[wait], at.Sub(became.Add(after)))
		} else {
			t.Errorf("%s: %s was never %s", wait, id, state)
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
		t.Errorf("%d kinds of waits, want %d", len(late), waits)
	}
	for _, wait := range slices.Sorted(maps.Keys(late)) {
		each := late[wait]
		slices.Sort(each)
		var sum time.Duration
		for _, l := range each {
			sum += l
		}
		mean, last := sum/time.Duration(len(each)), each[len(each)-1]
		t.Logf("%-12s noticed late by %5.2f s on average, 90%% within %5.2f s, all within %5.2f s",
			wait, mean.Seconds(), each[len(each)*9/10].Seconds(), last.Seconds())
		if mean >= mostMean || last > most || each[0] < 0 {
			t.Errorf("%s: late by %v to %v, %v on average; want less than %v, and %v on average", wait, each[0], last, mean, most, mostMean)
		}
	}
}

// busiestMinute is how many calls that only look came in the busiest minute.
func busiestMinute(server *ec2test.Server) int {
	var at []time.Time
	for _, c := range server.Calls() {
		if strings.HasPrefix(c.Action, "Describe") || strings.HasPrefix(c.Action, "Get") {
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
