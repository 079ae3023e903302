package ec2_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// fixed is a version of an image that always has the same name, here and in
// another region.
func fixed(cloud *ec2.Cloud, version string) *bake.Image {
	return &bake.Image{
		Name: "fixed",
		Builder: ec2.Builder{
			Cloud: cloud, Source: ubuntu(), AMIName: "web", ReplaceAMI: true,
			Distribute: ec2.Distribution{Copies: ec2.CopyTo("us-east-1"), Attempts: 1},
		},
		Provisioners: []bake.Provisioner{provision.File{Content: version, Dest: "/etc/version", Sudo: true}},
	}
}

// wantWeb wants one image in each region, with the name and one of the versions,
// ready for use, and nothing else.
func wantWeb(t *testing.T, server *ec2test.Server, versions ...string) map[string]string {
	t.Helper()
	ids := map[string]string{}
	snapshots := 0
	for _, r := range server.Resources(nil) {
		switch {
		case r.Type == "snapshot":
			snapshots++
		case r.Type != "image" || r.Name != "web" || ids[r.Region] != "":
			t.Errorf("left behind: %s", r)
		default:
			ids[r.Region] = r.ID
			got, err := server.ReadFile(r.ID, "/etc/version")
			if err != nil || !strings.Contains(strings.Join(versions, " "), string(got)) {
				t.Errorf("%s holds version %q, %v; want %v", r, got, err, versions)
			}
		}
		if r.Tags[ec2.TagExpires] != "" {
			t.Errorf("%s is not finished: %v", r, r.Tags)
		}
	}
	if len(ids) != 2 || snapshots != 2 {
		t.Errorf("%d images and %d snapshots, want 2 and 2: %v", len(ids), snapshots, server.Leftovers())
	}
	return ids
}

func TestReplaceAMI(t *testing.T) {
	server := newServer(t, nil)
	cloud := newCloud(server)
	var before map[string]string
	for _, version := range []string{"v1", "v2", "v3"} {
		results, err := bake.Bake(t.Context(), fast(), fixed(cloud, version))
		if err != nil {
			t.Fatal(err)
		}
		ami := amiOf(t, results[0])
		after := wantWeb(t, server, version)
		if ami.Name != "web" || fmt.Sprint(ami.IDs()) != fmt.Sprint(after) || after[testRegion] == before[testRegion] {
			t.Errorf("%s: the AMI is %s, found %v, before %v", version, ami, after, before)
		}
		before = after
	}
	// A candidate that is not good does not touch what is there.
	bad := fixed(cloud, "v4")
	bad.Checks = []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { return errors.New("not good") }}}
	if _, err := bake.Bake(t.Context(), fast(), bad); err == nil || !strings.Contains(err.Error(), "not good") {
		t.Errorf("error %v", err)
	}
	if after := wantWeb(t, server, "v3"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("found %v, want %v untouched", after, before)
	}
	// One that turns bad after the promotion gives the name back.
	late := fixed(cloud, "v5")
	late.Steps = []bake.Step{{Name: "late", At: bake.AfterPromote, Do: func(context.Context) error {
		wantVersion(t, server, "v5")
		return errors.New("too late")
	}}}
	if _, err := bake.Bake(t.Context(), fast(), late); err == nil || !strings.Contains(err.Error(), "too late") {
		t.Errorf("error %v", err)
	}
	wantWeb(t, server, "v3")
}

// wantVersion wants that version under the name, whatever else there is.
func wantVersion(t *testing.T, server *ec2test.Server, version string) {
	t.Helper()
	for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Name == "web" }) {
		if got, err := server.ReadFile(r.ID, "/etc/version"); err != nil || string(got) != version {
			t.Errorf("%s holds version %q, %v", r, got, err)
		}
	}
}

// TestReplacementBroken breaks each call that a replacement makes. Whatever
// happens, an image has the name everywhere, the old one or the new.
func TestReplacementBroken(t *testing.T) {
	server := newServer(t, nil)
	if _, err := bake.Bake(t.Context(), fast(), fixed(newCloud(server), "v1")); err != nil {
		t.Fatal(err)
	}
	first := len(server.Calls())
	if _, err := bake.Bake(t.Context(), fast(), fixed(newCloud(server), "v2")); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, c := range server.Calls()[first:] {
		count[c.Action]++
		switch c.Action {
		case "DescribeImages", "RegisterImage", "DeregisterImage", "DeleteSnapshot", "CopyImage", "DeleteTags":
		default:
			continue
		}
		nth := count[c.Action]
		for name, fault := range map[string]ec2test.Fault{
			"refused":  {Code: "UnauthorizedOperation"},
			"failing":  {Times: attempts, Code: "InternalError"},
			"lost":     {Times: attempts, When: ec2test.After},
			"lost one": {When: ec2test.After},
		} {
			fault.Action, fault.Nth = c.Action, nth
			t.Run(fmt.Sprintf("%s %d %s", c.Action, nth, name), func(t *testing.T) {
				t.Parallel()
				server := newServer(t, nil)
				if _, err := bake.Bake(t.Context(), fast(), fixed(newCloud(server), "v1")); err != nil {
					t.Fatal(err)
				}
				server.Fail(fault)
				results, err := bake.Bake(t.Context(), &bake.Options{Clock: clock.Scaled(60), StepTimeout: time.Minute}, fixed(newCloud(server), "v2"))
				switch {
				case err == nil:
					wantWeb(t, server, "v2")
				case results[0].Artifact == nil:
					wantWeb(t, server, "v1")
				default:
					wantWeb(t, server, "v1", "v2")
				}
			})
		}
	}
}

func TestValidateReplace(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	for want, b := range map[string]ec2.Builder{
		"Builder.ReplaceAMI: needs AMIName":               {ReplaceAMI: true},
		"Builder.AMIName: is 120 bytes, want at most 100": {ReplaceAMI: true, AMIName: strings.Repeat("x", 120)},
	} {
		b.Cloud, b.Source = cloud, ubuntu()
		if err := bake.Validate(nil, &bake.Image{Name: "valid", Builder: b}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
