// Package ebsdirect writes and reads EBS snapshots by the EBS direct APIs.
//
// An upload reads the disk once, from its beginning to its end, sends the blocks that are
// not zeros, several at once, and can be continued by another process.
package ebsdirect

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// BlockSize is the number of bytes of a block.
const BlockSize = 512 << 10

// MostParallel is the number of blocks that are sent or received at once. A request takes
// some tens of milliseconds, so that as many are needed for a thousand per second.
const MostParallel = 64

// An Index is the position of a block on a disk.
type Index = int32

// A Client calls EBS direct in a region of an account.
type Client struct {
	api         *ebs.Client
	clock       clock.Clock
	credentials aws.CredentialsProvider
	retryEvery  time.Duration
}

// New returns a client. Failed calls are repeated after a pause.
func New(cfg aws.Config, c clock.Clock, pause time.Duration) *Client {
	cfg = cfg.Copy()
	switch client := cfg.HTTPClient.(type) {
	case nil:
		cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(reuse)
	case *awshttp.BuildableClient: // others are the caller's own
		cfg.HTTPClient = client.WithTransportOptions(reuse)
	}
	// A schedule ends the context of an attempt with it, before a body could be read.
	cfg.APIOptions = append(slices.Clip(cfg.APIOptions), func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(readBody{}, middleware.After)
	})
	return &Client{api: ebs.NewFromConfig(cfg), clock: c, credentials: cfg.Credentials, retryEvery: pause}
}

// readBody reads the bodies of responses with a block during the attempt.
type readBody struct{}

func (readBody) ID() string { return "BakestoneReadBlock" }

func (readBody) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleDeserialize(ctx, in)
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil || !ok || middleware.GetOperationName(ctx) != "GetSnapshotBlock" || resp.StatusCode != http.StatusOK {
		return out, meta, err
	}
	data := make([]byte, BlockSize+1) // one more shows that there are more
	n, err := io.ReadFull(resp.Body, data)
	_ = resp.Body.Close() // already read
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return out, meta, &smithyhttp.RequestSendError{Err: err} // which is tried again
	}
	resp.Body = io.NopCloser(bytes.NewReader(data[:n]))
	return out, meta, nil
}

// reuse keeps the connections of all requests that run at once.
func reuse(t *http.Transport) {
	t.MaxIdleConnsPerHost = max(t.MaxIdleConnsPerHost, MostParallel)
	t.MaxIdleConns = max(t.MaxIdleConns, 2*MostParallel)
}

// mostRepeats is the number of attempts at a call besides those of the SDK.
const mostRepeats = 6

// repeat calls do again while its error is one that another attempt may not have, although
// the SDK takes it for permanent.
func (c *Client) repeat(ctx context.Context, do func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := do(ctx)
		switch {
		case err == nil || ctx.Err() != nil || attempt == mostRepeats:
			return err
		case isExpired(err):
			if cached, ok := c.credentials.(interface{ Invalidate() }); ok { // an aws.CredentialsCache
				cached.Invalidate()
			}
		case !mayPass(err):
			return err
		}
		if err := c.clock.Sleep(ctx, c.retryEvery*time.Duration(attempt)); err != nil {
			return err
		}
	}
}

// isExpired reports whether credentials have expired.
func isExpired(err error) bool {
	switch awsapi.Code(err) {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return true
	}
	return false
}

// mayPass reports whether an error may be gone at the next attempt: a block is being
// written by an attempt whose response was lost, or it was damaged on the way.
func mayPass(err error) bool {
	if invalid, ok := errors.AsType[*ebstypes.ValidationException](err); ok {
		switch invalid.Reason {
		case "CONFLICTING_BLOCK_UPDATE", ebstypes.ValidationExceptionReasonInvalidParameterValue:
			return true
		}
	}
	if _, conflict := errors.AsType[*ebstypes.ConflictException](err); conflict {
		return true
	}
	_, damaged := errors.AsType[*damagedError](err)
	return damaged
}

// damagedError reports data that was not received as it was sent.
type damagedError struct{ text string }

func (e *damagedError) Error() string { return e.text }

// IsUnusable reports that a snapshot cannot be written any more: it is completed, or failed
// since no block came for too long.
func IsUnusable(err error) bool {
	invalid, ok := errors.AsType[*ebstypes.ValidationException](err)
	return ok && invalid.Reason == ebstypes.ValidationExceptionReasonInvalidSnapshotId
}

// IsUnusableKey reports that EBS cannot use the key that encrypts a snapshot.
func IsUnusableKey(err error) bool {
	if invalid, ok := errors.AsType[*ebstypes.ValidationException](err); ok {
		return invalid.Reason == ebstypes.ValidationExceptionReasonInvalidCustomerKey
	}
	denied, ok := errors.AsType[*ebstypes.AccessDeniedException](err)
	return ok && denied.Reason == ebstypes.AccessDeniedExceptionReasonDependencyAccessDenied
}
