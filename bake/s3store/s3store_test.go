package s3store_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/s3store"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// client returns a client of an endpoint. Its writes are sent one at a time: moto compares
// and writes without a lock, so that of two that come at once both can succeed.
func client(endpoint string, turn *sync.Mutex) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), UsePathStyle: true, HTTPClient: oneWriter{turn},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDBAKESTONETEST", "not a secret", ""),
	})
}

type oneWriter struct{ turn *sync.Mutex }

func (w oneWriter) Do(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		w.turn.Lock()
		defer w.turn.Unlock()
	}
	return http.DefaultClient.Do(r)
}

// TestConforms runs the conformance suite on moto's S3.
func TestConforms(t *testing.T) {
	endpoint := testenv.Moto(t)
	var buckets atomic.Int64
	var turn sync.Mutex
	baketest.ConformStore(t, func(t *testing.T) func() bake.Store {
		t.Helper()
		bucket := fmt.Sprint("bakes-", buckets.Add(1))
		_, err := client(endpoint, &turn).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		if err != nil {
			t.Fatal(err)
		}
		return func() bake.Store {
			store, err := s3store.New(client(endpoint, &turn), bucket, "bakes/")
			if err != nil {
				t.Fatal(err)
			}
			return store
		}
	})
}

func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the SDK waits before each attempt
		store, err := s3store.New(client("http://127.0.0.1:1", &sync.Mutex{}), "bucket", "")
		if err != nil {
			t.Fatal(err)
		}
		rec := &bake.Record{Version: bake.RecordVersion, Revision: 1, Build: "20260102t030405-abcdefgh", Image: "web"}
		if err := store.Save(t.Context(), rec); err == nil || errors.Is(err, bake.ErrConflict) {
			t.Errorf("Save without a server = %v, want an error that is not a conflict", err)
		}
		if _, err := store.Load(t.Context(), rec.Build); err == nil || errors.Is(err, bake.ErrNoRecord) {
			t.Errorf("Load without a server = %v, want an error that is not ErrNoRecord", err)
		}
	})
	if _, err := s3store.New(nil, "bucket", ""); err == nil {
		t.Error("New without a client = nil, want an error")
	}
}
