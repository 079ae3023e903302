package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// fixedName returns a version of an image whose AMI has the name "web" in two
// regions.
func fixedName(cloud *ec2.Cloud, version string) *bake.Image {
	return &bake.Image{
		Name: "fixed",
		Builder: ec2.Builder{
			Cloud: cloud, Source: ubuntu(), AMIName: "web", ReplaceAMI: true,
			Distribute: ec2.Distribution{Copies: ec2.CopyTo("us-east-1"), Attempts: 1},
		},
		Provisioners: []bake.Provisioner{provision.File{Content: version, Dest: "/etc/version", Sudo: true}},
	}
}

// wantWebImages checks that each region has one finished image with the name and
// one of the versions, and nothing else, and returns the ids by region.
func wantWebImages(t *testing.T, server *ec2test.Server, versions ...string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	snapshots := 0
	for _, r := range server.Resources(nil) {
		switch {
		case r.Type == "snapshot":
			snapshots++
		case r.Type != "image" || r.Name != "web" || ids[r.Region] != "":
			t.Errorf("resource %s is left, want one image %q in each region and its snapshot", r, "web")
		default:
			ids[r.Region] = r.ID
			got, err := server.ReadFile(r.ID, "/etc/version")
			if err != nil || !strings.Contains(strings.Join(versions, " "), string(got)) {
				t.Errorf("version in %s = %q, %v, want one of %v", r, got, err, versions)
			}
		}
		if r.Tags[ec2.TagExpires] != "" {
			t.Errorf("%s has the tag %s, want it removed", r, ec2.TagExpires)
		}
	}
	if len(ids) != 2 || snapshots != 2 {
		t.Errorf("images = %d, snapshots = %d, want 2, 2: %v", len(ids), snapshots, server.Leftovers())
	}
	return ids
}

func TestReplaceAMI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		var before map[string]string
		for _, version := range []string{"v1", "v2", "v3"} {
			results, err := bake.Bake(t.Context(), nil, fixedName(cloud, version))
			if err != nil {
				t.Fatal(err)
			}
			ami := amiOf(t, results[0])
			after := wantWebImages(t, server, version)
			if ami.Name != "web" || fmt.Sprint(ami.IDs()) != fmt.Sprint(after) || after[testRegion] == before[testRegion] {
				t.Errorf("%s: AMI = %s, want %q with the new ids %v, not %v", version, ami, "web", after, before)
			}
			before = after
		}
		// A failed check leaves the old AMI alone.
		bad := fixedName(cloud, "v4")
		bad.Checks = []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return errors.New("not good") }}}
		_, err := bake.Bake(t.Context(), nil, bad)
		wantError(t, "Bake", err, "not good")
		if after := wantWebImages(t, server, "v3"); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("AMIs after a failed check = %v, want %v", after, before)
		}
		// A failure after the promotion restores the old AMI.
		late := fixedName(cloud, "v5")
		late.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error {
			wantVersion(t, server, "v5")
			return errors.New("too late")
		}}}
		_, err = bake.Bake(t.Context(), nil, late)
		wantError(t, "Bake", err, "too late")
		wantWebImages(t, server, "v3")
	})
}

// wantVersion checks the version of the AMIs with the name.
func wantVersion(t *testing.T, server *ec2test.Server, version string) {
	t.Helper()
	for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Name == "web" }) {
		wantFile(t, server, r.ID, "/etc/version", version)
	}
}

// TestReplaceAMIWithEachCallFailing breaks each call of a replacement. In each
// region, either the old or the new AMI must have the name.
func TestReplaceAMIWithEachCallFailing(t *testing.T) {
	var calls []ec2test.Call
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		if _, err := bake.Bake(t.Context(), nil, fixedName(newCloud(server), "v1")); err != nil {
			t.Fatal(err)
		}
		first := len(server.Calls())
		if _, err := bake.Bake(t.Context(), nil, fixedName(newCloud(server), "v2")); err != nil {
			t.Fatal(err)
		}
		calls = server.Calls()[first:]
	})
	count := map[string]int{}
	for i, c := range calls {
		count[c.Action]++
		switch c.Action {
		case "DescribeImages", "RegisterImage", "DeregisterImage", "DeleteSnapshot", "CopyImage", "DeleteTags":
		default:
			continue
		}
		nth := count[c.Action]
		faults := map[string]ec2test.Fault{
			"refused":  {Code: "UnauthorizedOperation"},
			"failing":  {Times: attempts, Code: "InternalError"},
			"lost":     {Times: attempts, When: ec2test.After},
			"lost one": {When: ec2test.After},
		}
		for j, name := range slices.Sorted(maps.Keys(faults)) {
			if !chosen(i+j, 3) {
				continue
			}
			fault := faults[name]
			fault.Action, fault.Nth = c.Action, nth
			t.Run(fmt.Sprintf("%s %d %s", c.Action, nth, name), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server := newServer(t, nil)
					if _, err := bake.Bake(t.Context(), nil, fixedName(newCloud(server), "v1")); err != nil {
						t.Fatal(err)
					}
					server.Fail(fault)
					results, err := bake.Bake(t.Context(), &bake.Options{StepTimeout: time.Minute}, fixedName(newCloud(server), "v2"))
					switch {
					case err == nil:
						wantWebImages(t, server, "v2")
					case results[0].Artifact == nil:
						wantWebImages(t, server, "v1")
					default:
						wantWebImages(t, server, "v1", "v2")
					}
				})
			})
		}
	}
}

func TestValidateReplaceAMI(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	for want, b := range map[string]ec2.Builder{
		"Builder.ReplaceAMI: needs AMIName":               {ReplaceAMI: true},
		"Builder.AMIName: is 120 bytes, want at most 100": {ReplaceAMI: true, AMIName: strings.Repeat("x", 120)},
	} {
		b.Cloud, b.Source = cloud, ubuntu()
		err := bake.Validate(nil, &bake.Image{Name: "valid", Builder: b})
		wantError(t, "Validate", err, want)
	}
}

// TestUndoAfterReplaceAMI undoes a build whose process died while it removed the
// old AMI. The new one must stay.
func TestUndoAfterReplaceAMI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		if _, err := bake.Bake(t.Context(), nil, fixedName(newCloud(server), "v1")); err != nil {
			t.Fatal(err)
		}
		store := &frozenStore{}
		server.Fail(ec2test.Fault{Action: "DeleteSnapshot", Match: func(url.Values) bool { store.freeze(); return false }})
		opts := &bake.Options{}
		opts.Store = store
		img := fixedName(newCloud(server), "v2")
		if _, err := bake.Bake(t.Context(), opts, img); err != nil {
			t.Fatal(err)
		}
		if err := bake.Undo(t.Context(), nil, img, store.load(t)); err != nil {
			t.Error(err)
		}
		wantWebImages(t, server, "v2")
	})
}

// TestReplaceAMIWithSharedSnapshots replaces an AMI with a snapshot that another
// AMI uses.
func TestReplaceAMIWithSharedSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		if _, err := bake.Bake(t.Context(), nil, fixedName(cloud, "v1")); err != nil {
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
		options := &bake.Options{}
		options.UndoTimeout = time.Hour // 3.6 s: an undo that waits for the shared snapshot fails
		if _, err := bake.Bake(t.Context(), options, fixedName(cloud, "v2")); err != nil {
			t.Error(err)
		}
		wantFile(t, server, *other.ImageId, "/etc/version", "v1")
		if ids := server.Resources(func(r ec2test.Resource) bool { return r.Type == "snapshot" && r.Region == testRegion }); len(ids) != 2 {
			t.Errorf("snapshots = %v, want those of the other and the new AMI", ids)
		}
	})
}

// TestReplaceAMIUndoWithNameTaken restores the old AMI while EC2 still reports
// its name as taken.
func TestReplaceAMIUndoWithNameTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		if _, err := bake.Bake(t.Context(), nil, fixedName(newCloud(server), "v1")); err != nil {
			t.Fatal(err)
		}
		late := fixedName(newCloud(server), "v2")
		late.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error {
			server.Fail(ec2test.Fault{Action: "RegisterImage", Code: "InvalidAMIName.Duplicate", Region: testRegion})
			return errors.New("too late")
		}}}
		_, err := bake.Bake(t.Context(), nil, late)
		wantError(t, "Bake", err, "too late")
		wantWebImages(t, server, "v1")
	})
}
