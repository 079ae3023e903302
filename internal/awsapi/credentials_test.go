package awsapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// slowCredentials takes a second, and its credentials are valid for an hour.
func slowCredentials(calls *int) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		*calls++
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return aws.Credentials{}, context.Cause(ctx)
		}
		return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "key", CanExpire: true, Expires: time.Now().Add(time.Hour)}, nil
	})
}

func TestCredentialsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := cacheCredentials(slowCredentials(&calls))
		get := func() {
			t.Helper()
			if got, err := c.Retrieve(t.Context()); err != nil || got.AccessKeyID != "id" {
				t.Errorf("Retrieve = %v, %v", got.AccessKeyID, err)
			}
		}
		for range 3 {
			go get()
		}
		time.Sleep(59 * time.Minute)
		get()
		if calls != 1 {
			t.Errorf("credentials were retrieved %d times within their hour, want once", calls)
		}
		time.Sleep(2 * time.Minute)
		get()
		if calls != 2 {
			t.Errorf("credentials were retrieved %d times, want again once they have expired", calls)
		}
	})
}

// A bubble fails if a goroutine outlives it.
func TestCredentialsOfCanceledCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := cacheCredentials(slowCredentials(&calls))
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error)
		go func() {
			_, err := c.Retrieve(ctx)
			first <- err
		}()
		synctest.Wait()
		waiting, stop := context.WithTimeout(t.Context(), time.Millisecond)
		defer stop()
		if _, err := c.Retrieve(waiting); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Retrieve while another one retrieves = %v, want DeadlineExceeded", err)
		}
		second := make(chan error)
		go func() {
			_, err := c.Retrieve(t.Context())
			second <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled Retrieve = %v, want Canceled", err)
		}
		if err := <-second; err != nil || calls != 2 {
			t.Errorf("Retrieve of one that waited = %v after %d calls, want none of the cancellation", err, calls)
		}
	})
}
