// Package s3store keeps the records of builds in a bucket of Amazon S3, for processes on
// any number of hosts. Each record is an object, which is written only if it did not
// change: by If-None-Match and If-Match.
//
//	store, err := s3store.New(s3.NewFromConfig(cfg), "bucket", "bakes/")
//
// Records contain private keys: block public access, and let nobody but the service read
// the bucket. The credentials need s3:GetObject, s3:PutObject and s3:DeleteObject for the
// objects, and s3:ListBucket for the bucket. Of versions of the bucket, earlier ones
// should expire.
//
// Services that speak the protocol of S3 must support both conditions; the conformance
// suite of package baketest tells.
package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
)

// A Store is a bake.Store in a bucket.
type Store struct {
	client *s3.Client
	bucket string
	prefix string
}

var _ bake.Store = (*Store)(nil)

const (
	suffix        = ".json"
	longestRecord = 64 << 20 // bytes
)

// New returns a Store in the bucket, for objects whose keys begin with prefix, which may
// be empty: "bakes/". It does no I/O.
func New(client *s3.Client, bucket, prefix string) (*Store, error) {
	if client == nil || bucket == "" {
		return nil, errors.New("a client and a bucket are required")
	}
	return &Store{client: client, bucket: bucket, prefix: prefix}, nil
}

func (s *Store) key(build string) *string { return aws.String(s.prefix + build + suffix) }

// Save puts the record if the object is the one with the revision before.
func (s *Store) Save(ctx context.Context, r *bake.Record) error {
	data, err := bake.EncodeRecord(r)
	if err != nil {
		return err
	}
	in := &s3.PutObjectInput{
		Bucket: &s.bucket, Key: s.key(r.Build), Body: bytes.NewReader(data), ContentType: aws.String("application/json"),
	}
	if r.Revision == 1 {
		in.IfNoneMatch = aws.String("*")
	} else {
		stored, tag, err := s.load(ctx, r.Build)
		switch {
		case errors.Is(err, bake.ErrNoRecord) || err == nil && stored.Revision != r.Revision-1:
			return conflict(r)
		case err != nil:
			return err
		}
		in.IfMatch = aws.String(tag)
	}
	_, err = s.client.PutObject(ctx, in)
	switch code(err) {
	// S3 reports NoSuchKey if the object was deleted, and the conflict if another
	// request for it was running.
	case "PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey":
		return conflict(r)
	}
	return err
}

func conflict(r *bake.Record) error { return fmt.Errorf("%w: build %s", bake.ErrConflict, r.Build) }

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// Load gets a record.
func (s *Store) Load(ctx context.Context, build string) (*bake.Record, error) {
	r, _, err := s.load(ctx, build)
	return r, err
}

// load also returns the object's entity tag.
func (s *Store) load(ctx context.Context, build string) (r *bake.Record, tag string, err error) {
	if err := bake.ValidateBuildID(build); err != nil {
		return nil, "", fmt.Errorf("%w: %w", bake.ErrNoRecord, err)
	}
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.key(build)})
	if code(err) == "NoSuchKey" {
		return nil, "", fmt.Errorf("%w: %s", bake.ErrNoRecord, build)
	}
	if err != nil {
		return nil, "", err
	}
	defer out.Body.Close()
	data, err := io.ReadAll(io.LimitReader(out.Body, longestRecord+1))
	if err == nil && len(data) > longestRecord {
		err = fmt.Errorf("record of build %s: longer than %d bytes", build, longestRecord)
	}
	if err != nil {
		return nil, "", err
	}
	if r, err = bake.DecodeRecord(build, data); err != nil {
		return nil, "", err
	}
	if tag = aws.ToString(out.ETag); tag == "" {
		return nil, "", fmt.Errorf("record of build %s: the response has no ETag", build)
	}
	return r, tag, nil
}

// List lists the ids of all builds.
func (s *Store) List(ctx context.Context) ([]string, error) {
	var builds []string
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &s.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, object := range page.Contents {
			build, ok := strings.CutSuffix(strings.TrimPrefix(aws.ToString(object.Key), s.prefix), suffix)
			if ok && bake.ValidateBuildID(build) == nil {
				builds = append(builds, build)
			}
		}
	}
	slices.Sort(builds)
	return builds, nil
}

// Delete deletes a record.
func (s *Store) Delete(ctx context.Context, build string) error {
	if err := bake.ValidateBuildID(build); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.key(build)})
	return err
}
