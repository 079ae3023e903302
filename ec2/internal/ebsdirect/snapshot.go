package ebsdirect

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	ebstypes "github.com/aws/aws-sdk-go-v2/service/ebs/types"
)

// A Start describes a new snapshot.
type Start struct {
	SizeGiB     int64
	Parent      string // or empty
	Description string
	Tags        map[string]string
	Token       string // a second call with the same token returns the same snapshot

	// Encrypted encrypts a snapshot without a parent, with KMSKey or the account's
	// default key. Nil leaves it to the account.
	Encrypted *bool
	KMSKey    string

	// Timeout is how long the snapshot waits for its next block.
	Timeout time.Duration
}

// Start starts a snapshot and returns its id.
func (c *Client) Start(ctx context.Context, s Start) (id string, err error) {
	in := &ebs.StartSnapshotInput{
		VolumeSize: aws.Int64(s.SizeGiB), Description: aws.String(s.Description), ClientToken: aws.String(s.Token),
		Timeout: aws.Int32(int32(s.Timeout / time.Minute)), //nolint:gosec // a day
	}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		in.Tags = append(in.Tags, ebstypes.Tag{Key: aws.String(key), Value: aws.String(s.Tags[key])})
	}
	switch {
	case s.Parent != "":
		in.ParentSnapshotId = aws.String(s.Parent)
	case s.KMSKey != "":
		in.Encrypted, in.KmsKeyArn = aws.Bool(true), aws.String(s.KMSKey)
	default:
		in.Encrypted = s.Encrypted
	}
	err = c.repeatExpired(ctx, func(ctx context.Context) error {
		out, err := c.api.StartSnapshot(ctx, in)
		if err == nil {
			id = aws.ToString(out.SnapshotId)
		}
		return err
	})
	return id, err
}

// Complete seals a snapshot after its upload.
func (c *Client) Complete(ctx context.Context, id string, u Completed) error {
	in := &ebs.CompleteSnapshotInput{SnapshotId: aws.String(id), ChangedBlocksCount: aws.Int32(int32(u.Written))} //nolint:gosec // at most the blocks of a volume
	if u.Written > 0 {
		in.Checksum = aws.String(u.linear)
		in.ChecksumAlgorithm = ebstypes.ChecksumAlgorithmChecksumAlgorithmSha256
		in.ChecksumAggregationMethod = ebstypes.ChecksumAggregationMethodChecksumAggregationLinear
	}
	return c.repeatExpired(ctx, func(ctx context.Context) error {
		_, err := c.api.CompleteSnapshot(ctx, in)
		return err
	})
}

// repeatExpired is like repeat for calls whose other errors are final.
func (c *Client) repeatExpired(ctx context.Context, do func(context.Context) error) error {
	var final error
	err := c.repeat(ctx, func(ctx context.Context) error {
		err := do(ctx)
		if err != nil && !isExpired(err) {
			final = err
			return nil
		}
		return err
	})
	return errors.Join(final, err)
}
