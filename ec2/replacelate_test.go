package ec2_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

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

// Of the snapshots of an AMI there may be other AMIs: they are not the build's.
func TestReplacedAMISharesItsSnapshots(t *testing.T) {
	server := newServer(t, nil)
	cloud := newCloud(server)
	if _, err := bake.Bake(t.Context(), fast(), fixed(cloud, "v1")); err != nil {
		t.Fatal(err)
	}
	old := server.Resources(func(r ec2test.Resource) bool { return r.Type == "image" && r.Region == testRegion })[0]
	snapshot := *describe(t, cloud, testRegion, old.ID).BlockDeviceMappings[0].Ebs.SnapshotId
	other, err := cloud.Client("").RegisterImage(t.Context(), &awsec2.RegisterImageInput{
		Name: aws.String("other"), RootDeviceName: aws.String("/dev/sda1"), VirtualizationType: aws.String("hvm"),
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sda1"), Ebs: &ec2types.EbsBlockDevice{SnapshotId: &snapshot}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	options := fast()
	options.UndoTimeout = 10 * time.Second
	if _, err := bake.Bake(t.Context(), options, fixed(cloud, "v2")); err != nil {
		t.Error(err)
	}
	if got, err := server.ReadFile(*other.ImageId, "/etc/version"); err != nil || string(got) != "v1" {
		t.Errorf("the other AMI holds %q, %v", got, err)
	}
	if ids := server.Resources(func(r ec2test.Resource) bool { return r.Type == "snapshot" && r.Region == testRegion }); len(ids) != 2 {
		t.Errorf("snapshots %v, want that of the other and that of the new AMI", ids)
	}
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
