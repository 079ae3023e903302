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

// took is how long n calls at once take in all.
func took(t *testing.T, l *awsapi.Limiter, c awsapi.Call, n int) time.Duration {
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

func TestLimiterKeepsDocumentedRate(t *testing.T) {
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
				got := took(t, l, test.call, test.n)
				if off := got - test.want; off < 0 || off > time.Millisecond {
					t.Errorf("%d calls took %v, want %v", test.n, got, test.want)
				}
			})
		})
	}
}

func TestLimitsCanBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), map[string]awsapi.Limit{"RunInstances": {Requests: awsapi.Rate{Burst: 100, PerSecond: 50}}})
		if got := took(t, l, ec2Call("RunInstances"), 140); got.Round(time.Millisecond) != time.Second {
			t.Errorf("140 calls took %v, want 1 s: 90 at once, then 50 a second", got)
		}
	})
}

func TestBucketsAreSeparate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), nil)
		took(t, l, ec2Call("RunInstances"), 10)
		other := ec2Call("RunInstances")
		other.Region = "us-east-1"
		for _, c := range []awsapi.Call{ec2Call("TerminateInstances"), other} {
			if got := took(t, l, c, 1); got != 0 {
				t.Errorf("%v waited %v for another's bucket", c, got)
			}
		}
		took(t, l, awsapi.Call{Region: "a", Service: "IAM", Action: "CreateRole"}, 18)
		if got := took(t, l, awsapi.Call{Region: "b", Service: "IAM", Action: "CreateRole"}, 1); got == 0 {
			t.Error("IAM has one bucket for all regions")
		}
	})
}

func TestThrottlingSlowsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), nil)
		c := ec2Call("DescribeImages")
		for range 50 { // a burst that was refused as one
			l.Throttled(c)
		}
		switch slow := took(t, l, c, 20); {
		case slow <= time.Second:
			t.Errorf("20 calls after a throttled burst took %v, want more than at the full rate", slow)
		case slow > 2*time.Second:
			t.Errorf("20 calls after a throttled burst took %v, want at least half the full rate", slow)
		}
		time.Sleep(time.Minute)
		if again := took(t, l, c, 90); again != 0 {
			t.Errorf("90 calls a minute later took %v, want none", again)
		}
	})
}

// TestEndedWaitTakesNothing cancels a crowd: whoever comes next finds the
// tokens that the crowd did not use.
func TestEndedWaitTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(clock.System(), nil)
		took(t, l, ec2Call("RunInstances"), 4)
		ctx, cancel := context.WithCancel(t.Context())
		var crowd sync.WaitGroup
		for range 500 {
			crowd.Go(func() {
				if err := l.Wait(ctx, ec2Call("RunInstances")); !errors.Is(err, context.Canceled) {
					t.Errorf("error %v, want the cancellation", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		crowd.Wait()
		if got := took(t, l, ec2Call("RunInstances"), 1); got > time.Second {
			t.Errorf("the next launch waited %v for launches that never were", got)
		}
	})
}
