package ec2_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// lastRecord keeps what a process that dies has saved last.
type lastRecord struct {
	bake.Store

	mu     sync.Mutex
	record bake.Record
	died   bool
}

func (s *lastRecord) Save(_ context.Context, r *bake.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.died {
		s.record = *r
		s.record.Steps = slices.Clone(r.Steps)
	}
	return nil
}

func (s *lastRecord) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.died = true
}

// last is the record of the process that died.
func (s *lastRecord) last(t *testing.T) *bake.Record {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.died {
		t.Fatal("the process did not die")
	}
	return &s.record
}

// A process that dies while it removes what the good AMI has replaced has made
// a good AMI.
func TestProcessEndsWhileReplacedAMIGoes(t *testing.T) {
	server := newServer(t, nil)
	if _, err := bake.Bake(t.Context(), fast(), fixed(newCloud(server), "v1")); err != nil {
		t.Fatal(err)
	}
	store := &lastRecord{}
	server.Fail(ec2test.Fault{Action: "DeleteSnapshot", Match: func(url.Values) bool { store.die(); return false }})
	opts := fast()
	opts.Store = store
	img := fixed(newCloud(server), "v2")
	if _, err := bake.Bake(t.Context(), opts, img); err != nil {
		t.Fatal(err)
	}
	if err := bake.Undo(t.Context(), fast(), img, store.last(t)); err != nil {
		t.Error(err)
	}
	wantWeb(t, server, "v2")
}

// A name that was just given up may be taken yet, as far as EC2 knows.
func TestBringBackSeesNameLate(t *testing.T) {
	server := newServer(t, nil)
	if _, err := bake.Bake(t.Context(), fast(), fixed(newCloud(server), "v1")); err != nil {
		t.Fatal(err)
	}
	late := fixed(newCloud(server), "v2")
	late.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error {
		server.Fail(ec2test.Fault{Action: "RegisterImage", Code: "InvalidAMIName.Duplicate", Region: testRegion})
		return errors.New("too late")
	}}}
	if _, err := bake.Bake(t.Context(), fast(), late); err == nil || !strings.Contains(err.Error(), "too late") {
		t.Errorf("error %v", err)
	}
	wantWeb(t, server, "v1")
}
