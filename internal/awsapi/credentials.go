package awsapi

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
)

// AssumeRole returns the credentials of a role, which are retrieved when they are first
// needed and again when they have expired.
func AssumeRole(sts stscreds.AssumeRoleAPIClient, arn string, change func(*stscreds.AssumeRoleOptions)) aws.CredentialsProvider {
	return cacheCredentials(stscreds.NewAssumeRoleProvider(sts, arn, change))
}

// A credentialsCache keeps credentials until they expire. Unlike [aws.CredentialsCache] it
// retrieves them in the caller's goroutine and with its context, so that nothing goes on
// once the call has been canceled.
type credentialsCache struct {
	from aws.CredentialsProvider
	busy chan struct{} // holds a value while a caller retrieves; guards kept
	kept aws.Credentials
}

func cacheCredentials(from aws.CredentialsProvider) *credentialsCache {
	return &credentialsCache{from: from, busy: make(chan struct{}, 1)}
}

// Retrieve implements [aws.CredentialsProvider]. One caller at a time retrieves; others
// wait for it, and one of them retrieves if that fails.
func (c *credentialsCache) Retrieve(ctx context.Context) (aws.Credentials, error) {
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return aws.Credentials{}, context.Cause(ctx)
	}
	if c.kept.HasKeys() && !c.kept.Expired() {
		return c.kept, nil
	}
	got, err := c.from.Retrieve(ctx)
	if err == nil {
		c.kept = got
	}
	return got, err
}
