package ec2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestDiskPolicy makes AMIs of disks, also with a parent that is read, loses responses,
// fails late and destroys, and checks that the policy permits the calls and no other.
func TestDiskPolicy(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]ec2.Disk{"alone": {}, "with parents": {ReadParent: true}, "stream": {Size: 16 * mib}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				disk := randomDisk(16 * mib)
				if d.Size > 0 {
					d.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(disk)), nil }
				} else {
					d.File = writeDisk(t, disk)
				}
				upload := func() error {
					if d.ReadParent {
						d.BlockSums = t.TempDir() // so that the last AMI's are unknown
					}
					_, err := bake.Bake(t.Context(), nil, diskImage(cloud, d))
					return err
				}
				for range 2 {
					if err := upload(); err != nil {
						t.Fatalf("Bake: %v", err)
					}
				}
				for _, action := range []string{"StartSnapshot", "CompleteSnapshot", "RegisterImage"} {
					server.Fail(ec2test.Fault{Action: action, When: ec2test.After, Times: attempts})
					_ = upload() // whether it finds what the call made or not
					server.Mend()
				}
				planted := errors.New("planted")
				img := diskImage(cloud, d)
				img.Publishers = []bake.Publisher{bake.PublisherFunc{Do: func(_ context.Context, a bake.Artifact) error {
					return errors.Join(planted, a.Destroy(t.Context()))
				}}}
				if _, err := bake.Bake(t.Context(), nil, img); !errors.Is(err, planted) {
					t.Errorf("Bake with a failing publisher = %v, want %v", err, planted)
				}
				server.Fail(ec2test.Fault{Action: "RegisterImage", Denied: &ec2test.Denial{Resource: "arn:aws:ec2:eu-west-1::image/*"}})
				if err := upload(); err == nil {
					t.Error("Bake with a denied RegisterImage = nil")
				}
				want := slices.DeleteFunc(actionsOf(server.Calls(), mainAccount), neverCalled)
				got := slices.DeleteFunc(ec2.Policy(cloud, diskImage(cloud, d)).Actions(), neverCalled)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-calls +policy):\n%s", diff)
				}
			})
		})
	}
}

// isEBSDirect reports whether an action is one of EBS direct.
func isEBSDirect(action string) bool {
	return slices.Contains([]string{"StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot", "ListSnapshotBlocks", "ListChangedBlocks", "GetSnapshotBlock"}, action)
}
