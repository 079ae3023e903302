package ec2_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestCallsAreEvents compares the events of API calls with what the server has seen,
// with calls that are throttled, and those that several builds wait for.
func TestCallsAreEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		server.Fail(ec2test.Fault{Action: "CreateSecurityGroup", Code: "RequestLimitExceeded", Times: 1})
		var mu sync.Mutex
		got, canceled, failed := map[string]int{}, map[string]int{}, map[string]bool{}
		observe := func(e bake.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind != bake.APICalled {
				return
			}
			got[e.Text]++
			if strings.Contains(e.Err, context.Canceled.Error()) { // the server may not have seen it
				canceled[e.Text]++
			}
			if e.Err != "" {
				failed[fmt.Sprintf("%s attempt %d", e.Text, e.Attempt)] = true
			}
			if e.Step == "" || e.Build == "" || e.Attempt == 0 {
				t.Errorf("event %+v, want a step, a build and an attempt", e)
			}
		}
		cloud := newCloud(server)
		one, two := simple(cloud), simple(cloud)
		two.Name = "two"
		if _, err := bake.Bake(t.Context(), &bake.Options{Observe: observe}, one, two); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{}
		for _, c := range server.Calls() {
			want["EC2 "+c.Action]++
		}
		maps.DeleteFunc(got, func(call string, _ int) bool { return call == "STS GetCallerIdentity" })
		maps.DeleteFunc(want, func(call string, _ int) bool { return call == "EC2 GetCallerIdentity" })
		for call, n := range canceled {
			if want[call] >= got[call]-n && want[call] <= got[call] {
				want[call] = got[call]
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("API calls by events (-server +events):\n%s", diff)
		}
		if !failed["EC2 CreateSecurityGroup attempt 1"] {
			t.Errorf("failed calls = %v, want the first CreateSecurityGroup", failed)
		}
	})
}
