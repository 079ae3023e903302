package amicleanup_test

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/amicleanup/service"
)

// reported returns a region with something for every part of a report.
func reported() *fake {
	f := newFake()
	f.series("web", 4)
	for id, img := range f.images {
		img.BlockDeviceMappings[0].Ebs.VolumeSize = aws.Int32(8)
		f.images[id] = img
	}
	for s := range f.snapshots {
		f.orphan(s, func(s *ec2types.Snapshot) { s.FullSnapshotSizeInBytes = aws.Int64(3 << 30) })
	}
	used(f, "ami-web0", "i-1", ec2types.InstanceStateNameRunning)
	used(f, "ami-gone", "i-2", ec2types.InstanceStateNameRunning) // runs on
	f.templates = []ec2types.LaunchTemplateVersion{template("ami-web3"), template("ami-gone")}
	return f
}

func TestReport(t *testing.T) {
	f := reported()
	s := &service.Service{
		Cleaner: cleaner(f, amicleanup.Newest(1), amicleanup.InUse(inuse.Instances(), inuse.LaunchTemplates())),
		Price:   0.1,
	}
	s.Cleaner.Clock = &stepped{now: after(48)}
	s.Cleaner.Targets = append(s.Cleaner.Targets, target("us-east-1", newFake()))
	s.Cleaner.Policy.Limits.Removals = 1
	run := s.Once(t.Context())
	if run.Err != nil {
		t.Fatal(run.Err)
	}
	var text, markdown strings.Builder
	if err := run.Report.WriteText(&text); err != nil {
		t.Error(err)
	}
	want := `Planned at 2023-11-16 22:13:20
  1 to remove
  3 to keep
Done
  1 removed
Kept
  2 by InUse(instances, launch templates)
  1 by Limits
  1 by Newest(1)
  1 by always
  1 only because something is unknown or limited
Saved
  0 to 3 GiB of 1 image, 0 to 0.30 USD a month at 0.1 USD for a GiB; how much depends on the blocks that other snapshots share
Stale references
  eu-west-1: launch template lt-1 version 3 names ami-gone, which is gone
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if err := run.Report.WriteMarkdown(&markdown); err != nil || !strings.Contains(markdown.String(), "### Done\n- 1 removed\n") {
		t.Errorf("%v\n%s", err, markdown.String())
	}
}

func TestReportWithoutSizes(t *testing.T) {
	f := reported()
	plan := mustPlan(t, cleaner(f, amicleanup.Newest(2)))
	r := plan.Report(nil, 0)
	if r.MaxGiB != 16 || r.Price != amicleanup.DefaultPrice || r.MaxCost != 0.8 {
		t.Errorf("report %+v, want the volumes of two images", r)
	}
}

func TestStaleReferences(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	f.set("ami-web0", func(i *ec2types.Image) { i.State = ec2types.ImageStateDisabled })
	f.set("ami-web1", func(i *ec2types.Image) { i.DeprecationTime = aws.String("2023-11-15T00:00:00.000Z") })
	f.set("ami-web2", func(i *ec2types.Image) { i.DeprecationTime = aws.String("2033-11-15T00:00:00.000Z") }) // as public images have
	refs := inuse.Source{Name: "refs", List: func(context.Context, inuse.Place) ([]inuse.Reference, error) {
		return []inuse.Reference{
			{ImageID: "ami-web0", By: "parameter /web"}, {ImageID: "ami-web1", By: "launch template lt-1 version 1"},
			{ImageID: "ami-web2", By: "launch template lt-2 version 1"}, {ImageID: "ami-web3", By: "launch template lt-3 version 1"},
		}, nil
	}}
	c := cleaner(f, amicleanup.InUse(refs))
	c.Details, c.Clock = true, &stepped{now: after(48)}
	want := []inuse.StaleReference{
		{By: "launch template lt-1 version 1", ImageID: "ami-web1", Why: "is deprecated since 2023-11-15 00:00:00"},
		{By: "parameter /web", ImageID: "ami-web0", Why: "is disabled"},
	}
	if diff := cmp.Diff(want, mustPlan(t, c).Targets[0].Stale); diff != "" {
		t.Errorf("stale references (-want +got):\n%s", diff)
	}
}

func TestMarkdown(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.add("ami-odd", "we`ird|<name> 1700000000", nil)
	c := cleaner(f, amicleanup.Newest(1))
	c.Clock = &stepped{now: after(48)}
	plan := mustPlan(t, c)
	var got strings.Builder
	if err := plan.WriteMarkdown(&got); err != nil {
		t.Fatal(err)
	}
	want := "## Plan of 2023-11-16 22:13:20\n\nMay be applied until 2023-11-17 22:13:20. 1 image to remove, at most 0 GiB and 0.00 USD a month.\n\n### eu-west-1\n\n" +
		"1 to remove, 2 to keep, 0 not selected.\n\n| action | image | name | made | why |\n|---|---|---|---|---|\n" +
		"| remove | `ami-web0` | web 1700000000 | 2023-11-14 22:13:20 | 1 snapshot |\n\n<details><summary>2 kept in eu-west-1</summary>\n\n" +
		"| action | image | name | made | why |\n|---|---|---|---|---|\n" +
		"| keep | `ami-odd` | we'ird\\|&lt;name> 1700000000 | 2023-11-14 22:13:20 | is the newest of its group; is the newest |\n" +
		"| keep | `ami-web1` | web 1700003600 | 2023-11-14 23:13:20 | is the newest of its group; is the newest |\n\n</details>\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	result, err := c.Apply(t.Context(), plan)
	if err != nil {
		t.Fatal(err)
	}
	got.Reset()
	if err := result.WriteMarkdown(&got); err != nil || !strings.Contains(got.String(), "| eu-west-1 | removed | `ami-web0` | web 1700000000 | snap-web0 removed |") {
		t.Errorf("%v\n%s", err, got.String())
	}
}
