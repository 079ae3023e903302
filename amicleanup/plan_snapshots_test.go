package amicleanup_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
)

func orphanPlan(t *testing.T, f *fake, policy *amicleanup.SnapshotPolicy) (*amicleanup.Cleaner, *amicleanup.Plan) {
	t.Helper()
	c := cleaner(f)
	c.Clock = &stepped{now: after(10 * 24)}
	c.Policy.Snapshots = policy
	return c, mustPlan(t, c)
}

// verdicts returns why each snapshot of a plan is kept, "" for those to remove.
func verdicts(plan *amicleanup.Plan) map[string]string {
	all := map[string]string{}
	for _, item := range plan.Targets[0].Snapshots {
		all[item.Snapshot.ID] = item.Reason
	}
	return all
}

// tags takes keys and values in turn.
func tags(pairs ...string) []ec2types.Tag {
	var list []ec2types.Tag
	for pair := range slices.Chunk(pairs, 2) {
		list = append(list, ec2types.Tag{Key: aws.String(pair[0]), Value: aws.String(pair[len(pair)-1])})
	}
	return list
}

func TestOrphans(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.orphan("snap-dead", func(s *ec2types.Snapshot) {
		s.Tags = tags("bakestone:build", "b1", "bakestone:expires", after(24).Format(time.RFC3339))
	})
	f.orphan("snap-left", nil)
	f.orphan("snap-volume", func(s *ec2types.Snapshot) { s.Tags = nil }) // a backup
	f.orphan("snap-by-hand", func(s *ec2types.Snapshot) {
		s.Tags, s.Description = nil, aws.String("Created by CreateImage(i-1) for ami-0123456789abcdef0")
	})
	c, plan := orphanPlan(t, f, &amicleanup.SnapshotPolicy{})
	if diff := cmp.Diff(map[string]string{"snap-dead": "", "snap-left": ""}, verdicts(plan)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	policy := &amicleanup.SnapshotPolicy{Described: true, Except: map[string]string{"keep": "*"}}
	c.Policy.Snapshots, c.Policy.Limits.Snapshots = policy, 2
	plan = mustPlan(t, c)
	if diff := cmp.Diff(map[string]string{
		"snap-by-hand": "", "snap-dead": "", "snap-left": "waits for a later run: this one is limited to 2 snapshots",
	}, verdicts(plan)); diff != "" {
		t.Errorf("with described ones and a limit (-want +got):\n%s", diff)
	}
	result, err := c.Apply(t.Context(), plan)
	if err != nil || result.CountSnapshots(amicleanup.Removed) != 2 {
		t.Errorf("Apply: %+v, %v", result, err)
	}
	if diff := cmp.Diff([]string{"DeleteSnapshot snap-by-hand", "DeleteSnapshot snap-dead"}, f.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	again, err := c.Apply(t.Context(), plan)
	if err != nil || again.CountSnapshots(amicleanup.Skipped) != 2 || len(f.changes()) != 2 {
		t.Errorf("applied again: %+v, %v, calls %v", again, err, f.changes())
	}
	_, plan = orphanPlan(t, f, policy)
	c.Policy.Snapshots = nil
	if result, err := c.Apply(t.Context(), plan); err != nil || result.CountSnapshots(amicleanup.Skipped) != 1 || len(f.changes()) != 2 {
		t.Errorf("by a policy without snapshots: %+v, %v", result, err)
	}
	c.Clock = &stepped{now: after(11 * 24)}
	if _, err := c.Apply(t.Context(), plan); !errors.Is(err, amicleanup.ErrExpired) {
		t.Errorf("a day later: %v", err)
	}
}

// Snapshots that look like orphans.
func TestOrphansKept(t *testing.T) {
	const image = "ami-0123456789abcdef0"
	described := func(text string) func(*fake) {
		return func(f *fake) {
			f.orphan("snap-x", func(s *ec2types.Snapshot) { s.Description = aws.String(text) })
		}
	}
	with := func(change func(*ec2types.Snapshot)) func(*fake) {
		return func(f *fake) { f.orphan("snap-x", change) }
	}
	tests := []struct {
		name, want string
		setup      func(*fake)
	}{
		{"young", "is younger than 1 day", with(func(s *ec2types.Snapshot) { s.StartTime = aws.Time(after(10*24 - 23)) })},
		{"pending", "is pending", with(func(s *ec2types.Snapshot) { s.State = ec2types.SnapshotStatePending })},
		{"of a build that runs", "belongs to a build that may run until 2023-11-25 22:13:20", with(func(s *ec2types.Snapshot) {
			s.Tags = tags("bakestone:build", "b1", "bakestone:expires", after(11*24).Format(time.RFC3339))
		})},
		{"of a running CreateImage", "is described as a snapshot of " + image + ", which exists", func(f *fake) {
			f.add(image, "web 1700000000", func(i *ec2types.Image) { i.State, i.BlockDeviceMappings = ec2types.ImageStatePending, nil })
			described("Created by CreateImage(i-1) for " + image)(f)
		}},
		{"of an image in the Recycle Bin", "is described as a snapshot of " + image + ", which is in the Recycle Bin", func(f *fake) {
			f.bin[image] = ec2types.Image{Name: aws.String("web")}
			described("Copied for DestinationAmi " + image + " from SourceAmi ami-0000000000000000 for SourceSnapshot snap-1.")(f)
		}},
		{"of an image in the Recycle Bin, by name", "may be a snapshot of " + image + " in the Recycle Bin, which has the same name", func(f *fake) {
			f.bin[image] = ec2types.Image{Name: aws.String("web 1")}
			f.orphan("snap-x", func(s *ec2types.Snapshot) { s.Tags = tags("bakestone:build", "b1", "Name", "web 1") })
		}},
		{"locked", "is locked: governance", func(f *fake) { f.orphan("snap-x", nil); f.locked = []string{"snap-x"} }},
		{"of AWS Backup by tag", "is managed by AWS Backup", with(func(s *ec2types.Snapshot) {
			s.Tags = tags("bakestone:build", "b1", "aws:backup:source-resource", "i-1")
		})},
		{"of AWS Backup by description", "is managed by AWS Backup", described("This snapshot is created by the AWS Backup service.")},
		{"of Data Lifecycle Manager", "is managed by Data Lifecycle Manager", with(func(s *ec2types.Snapshot) {
			s.Tags = tags("bakestone:build", "b1", "aws:dlm:lifecycle-policy-id", "policy-1")
		})},
		{"shared", "is shared with other accounts: account 444455556666", func(f *fake) {
			f.orphan("snap-x", nil)
			f.snapUsers = map[string]string{"snap-x": "444455556666"}
		}},
		{"attached by a template", "is attached by launch template lt-1", func(f *fake) {
			f.orphan("snap-x", nil)
			v := template("")
			v.LaunchTemplateData.BlockDeviceMappings = []ec2types.LaunchTemplateBlockDeviceMapping{{Ebs: &ec2types.LaunchTemplateEbsBlockDevice{SnapshotId: aws.String("snap-x")}}}
			f.templates = append(f.templates, v)
		}},
		{"copied from an image that is there", "", func(f *fake) {
			f.add(image, "web 1700000000", nil)
			described("Copied for DestinationAmi ami-0000000000000000 from SourceAmi " + image + " for SourceSnapshot snap-1.")(f)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			tt.setup(f)
			_, plan := orphanPlan(t, f, &amicleanup.SnapshotPolicy{})
			if got, ok := verdicts(plan)["snap-x"]; !ok || got != tt.want {
				t.Errorf("kept because it %q (%v), want %q", got, ok, tt.want)
			}
		})
	}
}

// Snapshots of an image in any state are not orphans.
func TestOrphansOfDisabledImages(t *testing.T) {
	f := newFake()
	for i, state := range []ec2types.ImageState{ec2types.ImageStateDisabled, ec2types.ImageStateFailed, ec2types.ImageStateAvailable} {
		id := fmt.Sprintf("ami-%d", i)
		f.add(id, "web", func(img *ec2types.Image) { img.State = state })
		f.orphan("snap-"+fmt.Sprint(i), nil)
	}
	_, plan := orphanPlan(t, f, &amicleanup.SnapshotPolicy{})
	if got := plan.Targets[0]; got.SnapshotsUsed != 3 || len(got.Snapshots) != 0 {
		t.Errorf("%d in use, orphans %v", got.SnapshotsUsed, verdicts(plan))
	}
}

func TestOrphansDrift(t *testing.T) {
	tests := []struct {
		name, want, detail string
		trouble            func(*fake)
	}{
		{"registered since", "skipped", "belongs to an image", func(f *fake) {
			f.add("ami-new", "new", func(i *ec2types.Image) {
				i.BlockDeviceMappings[0].Ebs.SnapshotId = aws.String("snap-a")
			})
		}},
		{"tagged since", "skipped", "has other tags", func(f *fake) { f.orphan("snap-a", func(s *ec2types.Snapshot) { s.Tags = tags("keep", "1") }) }},
		{"gone", "skipped", "it is gone", func(f *fake) { delete(f.snapshots, "snap-a") }},
		{"in use", "skipped", "InvalidSnapshot.InUse", func(f *fake) { f.snapshots["snap-a"] = 9 }},
		{"failing", "failed", "InternalError", func(f *fake) {
			f.fail = func(action, id string) error {
				if action+" "+id == "DeleteSnapshot snap-a" {
					return apiError("InternalError")
				}
				return nil
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			f.orphan("snap-a", nil)
			f.orphan("snap-b", nil)
			c, plan := orphanPlan(t, f, &amicleanup.SnapshotPolicy{})
			tt.trouble(f)
			result, err := c.Apply(t.Context(), plan)
			if (err != nil) != (tt.want == "failed") {
				t.Fatal(err)
			}
			if got := result.Snapshots[0]; string(got.Outcome) != tt.want || !strings.Contains(got.Detail, tt.detail) {
				t.Errorf("%+v, want %s %s", got, tt.want, tt.detail)
			}
			if got := result.Snapshots[1].Outcome; got != amicleanup.Removed {
				t.Errorf("the next one is %s", got)
			}
		})
	}
}

// If anything cannot be read, all snapshots stay.
func TestOrphansNotRead(t *testing.T) {
	for _, action := range []string{
		"DescribeSnapshots", "DescribeImages", "ListImagesInRecycleBin", "DescribeLockedSnapshots",
		"DescribeLaunchTemplateVersions", "DescribeSnapshotAttribute",
	} {
		f := newFake()
		f.orphan("snap-a", nil)
		f.fail = func(got, _ string) error {
			if got == action {
				return apiError("UnauthorizedOperation")
			}
			return nil
		}
		c := cleaner(f)
		c.Policy.Snapshots = &amicleanup.SnapshotPolicy{}
		plan, err := c.Plan(t.Context())
		if target := new(amicleanup.TargetError); !errors.As(err, &target) || plan.Removals() != 0 || plan.Targets[0].SnapshotError == "" {
			t.Errorf("without %s: %d removals, error %v", action, plan.Removals(), err)
		}
	}
}

func TestSnapshotPolicyValidate(t *testing.T) {
	for want, policy := range map[string]*amicleanup.SnapshotPolicy{
		"SnapshotPolicy.MinAge: 1h0m0s is less than a day": {MinAge: time.Hour},
		"SnapshotPolicy: tag without a key":                {Tags: map[string]string{"": "x"}},
	} {
		if err := policy.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
