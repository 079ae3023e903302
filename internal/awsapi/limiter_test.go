package awsapi_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

func ec2Call(action string) awsapi.Call {
	return awsapi.Call{Region: "eu-west-1", Service: "EC2", Action: action}
}

// timeCalls makes n concurrent calls and returns how long they took together.
func timeCalls(t *testing.T, l *awsapi.Limiter, c awsapi.Call, n int) time.Duration {
	t.Helper()
	start := time.Now()
	var calls sync.WaitGroup
	for range n {
		calls.Go(func() {
			if err := l.Wait(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	return time.Since(start)
}

func TestLimiterDocumentedRates(t *testing.T) {
	tests := []struct {
		name string
		call awsapi.Call
		n    int
		want time.Duration
	}{
		{"90 describes at once", ec2Call("DescribeImages"), 90, 0},
		{"then 20 a second", ec2Call("DescribeImages"), 190, 5 * time.Second},
		{"four launches at once", ec2Call("RunInstances"), 4, 0},
		{"then two a second", ec2Call("RunInstances"), 24, 10 * time.Second},
		{"another service", awsapi.Call{Service: "SSM", Action: "PutParameter"}, 5, time.Second},
		{"900 launched instances at once", awsapi.Call{Service: "EC2", Action: "RunInstances", Resources: 450}, 2, 0},
		{"then two a second of them", awsapi.Call{Service: "EC2", Action: "RunInstances", Resources: 305}, 3, 7500 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := awsapi.NewLimiter(clock.System(), nil)
				got := timeCalls(t, l, test.call, test.n)
				if diff := got - test.want; diff < 0 || diff > time.Millisecond {
					t.Errorf("%d calls of Wait(%v) took %v, want %v", test.n, test.call, got, test.want)
				}
			})
		})
	}
}

// TestLimiterBlocksPerSecond checks that no second has more requests for blocks than AWS
// documents, and that as good as all of them are used.
func TestLimiterBlocksPerSecond(t *testing.T) {
	for action, most := range map[string]int{"PutSnapshotBlock": 1000, "GetSnapshotBlock": 1000, "ListSnapshotBlocks": 50, "StartSnapshot": 10} {
		t.Run(action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const seconds = 5
				l, call := awsapi.NewLimiter(clock.System(), nil), awsapi.Call{Region: "eu-west-1", Service: "EBS", Action: action}
				sent := make([]time.Time, seconds*most)
				start := time.Now()
				for i := range sent {
					if err := l.Wait(t.Context(), call); err != nil {
						t.Fatal(err)
					}
					sent[i] = time.Now()
					if i >= most && sent[i].Sub(sent[i-most]) < time.Second {
						t.Fatalf("requests %d to %d were sent within %v, want at least 1s", i-most, i, sent[i].Sub(sent[i-most]))
					}
				}
				if took, want := time.Since(start), seconds*time.Second*21/20; took > want {
					t.Errorf("%d requests took %v, want at most %v", len(sent), took, want)
				}
			})
		})
	}
}

func TestLimiterCustomLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), map[string]awsapi.Limit{"RunInstances": {Requests: awsapi.Rate{Burst: 100, PerSecond: 50}}})
		if got := timeCalls(t, l, ec2Call("RunInstances"), 140); got.Round(time.Millisecond) != time.Second {
			t.Errorf("140 calls took %v, want 1s: 90 at once, then 50 a second", got)
		}
	})
}

func TestLimiterSeparateBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), nil)
		timeCalls(t, l, ec2Call("RunInstances"), 10)
		other := ec2Call("RunInstances")
		other.Region = "us-east-1"
		for _, c := range []awsapi.Call{ec2Call("TerminateInstances"), other} {
			if got := timeCalls(t, l, c, 1); got != 0 {
				t.Errorf("Wait(%v) took %v after other calls emptied their own bucket, want 0", c, got)
			}
		}
		timeCalls(t, l, awsapi.Call{Region: "a", Service: "IAM", Action: "CreateRole"}, 18)
		if got := timeCalls(t, l, awsapi.Call{Region: "b", Service: "IAM", Action: "CreateRole"}, 1); got == 0 {
			t.Error("IAM call in region b did not wait for the calls in region a, want one bucket for all regions")
		}
	})
}

func TestLimiterThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), nil)
		c := ec2Call("DescribeImages")
		for range 50 { // one burst
			l.Throttled(c)
		}
		switch slow := timeCalls(t, l, c, 20); {
		case slow <= time.Second:
			t.Errorf("20 calls after a throttled burst took %v, want more than 1s, the time at the full rate", slow)
		case slow > 2*time.Second:
			t.Errorf("20 calls after a throttled burst took %v, want at most 2s, the time at half the rate", slow)
		}
		time.Sleep(time.Minute)
		if again := timeCalls(t, l, c, 90); again != 0 {
			t.Errorf("90 calls a minute later took %v, want 0", again)
		}
	})
}

// A canceled Wait takes no tokens from later calls.
func TestLimiterCanceledWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), nil)
		timeCalls(t, l, ec2Call("RunInstances"), 4)
		ctx, cancel := context.WithCancel(t.Context())
		var waits sync.WaitGroup
		for range 500 {
			waits.Go(func() {
				if err := l.Wait(ctx, ec2Call("RunInstances")); !errors.Is(err, context.Canceled) {
					t.Errorf("Wait = %v, want context.Canceled", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		waits.Wait()
		if got := timeCalls(t, l, ec2Call("RunInstances"), 1); got > time.Second {
			t.Errorf("Wait after 500 canceled ones took %v, want at most 1s", got)
		}
	})
}
