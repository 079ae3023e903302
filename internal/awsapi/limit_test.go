package awsapi_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

func TestLimiterKeepsDocumentedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(bake.RealTime())
		start := time.Now()
		var calls sync.WaitGroup
		for range 200 {
			calls.Go(func() {
				if err := l.Wait(t.Context(), "DescribeImages"); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("200 calls took %v, want 5 s: 100 at once, then 20 a second", took)
		}
		if err := l.Wait(t.Context(), "RunInstances"); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("another action waited: %v, %v", time.Since(start), err)
		}
	})
}

func TestThrottlingSlowsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := awsapi.NewLimiter(bake.RealTime())
		take := func(n int) time.Duration {
			start := time.Now()
			for range n {
				if err := l.Wait(t.Context(), "DescribeImages"); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(start)
		}
		l.Throttled("DescribeImages")
		if slow := take(20); slow <= time.Second {
			t.Errorf("20 calls after a throttled one took %v, want more than at the full rate", slow)
		}
		time.Sleep(time.Minute)
		if again := take(100); again != 0 {
			t.Errorf("100 calls a minute later took %v, want none", again)
		}
	})
}
