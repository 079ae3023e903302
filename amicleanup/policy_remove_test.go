package amicleanup_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// Policy.Remove overrides neither rules that protect images nor the guarantees, also
// where the name of an image has no timestamp.
func TestRemoveWithoutTimestampKeepsProtected(t *testing.T) {
	f := newFake()
	for i, change := range map[string]func(img *ec2types.Image){
		"used": nil, "shared": nil, "free": nil,
		"held":      func(img *ec2types.Image) { img.Tags = tags("legal-hold", "yes") },
		"managed":   func(img *ec2types.Image) { img.Tags = tags("aws:backup:source-resource", "i-1") },
		"pending":   func(img *ec2types.Image) { img.State = ec2types.ImageStatePending },
		"protected": func(img *ec2types.Image) { img.DeregistrationProtection = aws.String("enabled-without-cooldown") },
	} {
		f.add("ami-"+i, "web-"+i, func(img *ec2types.Image) {
			if change != nil {
				change(img)
			}
			img.Tags = append(img.Tags, tags("delete-after", "2020-01-01")...)
		})
	}
	f.templates = []ec2types.LaunchTemplateVersion{template("ami-used")}
	f.shares["ami-shared"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	c := cleaner(f, amicleanup.InUse(inuse.LaunchTemplates()), amicleanup.Shared(), amicleanup.Marked(), amicleanup.Newest(2))
	c.Policy.Select.Name, c.Policy.Timestamp = "", amicleanup.TimestampByTag("built", time.DateOnly)
	c.Policy.Remove = []amicleanup.Match{amicleanup.DeleteAfter("delete-after")}
	plan := mustPlan(t, c)
	if diff := cmp.Diff([]string{"ami-free"}, removals(plan)); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
		for _, item := range plan.Targets[0].Items {
			t.Logf("%s: %s, %v", item.Image.ID, item.Action, item.Reasons)
		}
	}
	if _, err := c.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DeregisterImage ami-free"}, f.changes()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// An image stays while EC2 copies it, also to another region.
func TestSourceOfPendingCopyStays(t *testing.T) {
	home, far := newFake(), newFake()
	home.series("web", 4)
	copying := func(state ec2types.ImageState) {
		far.add("ami-copy", fmt.Sprintf("web %d", after(0).Unix()), func(img *ec2types.Image) {
			img.State, img.SourceImageId, img.SourceImageRegion = state, aws.String("ami-web0"), aws.String("eu-west-1")
		})
	}
	copying(ec2types.ImageStatePending)
	c := cleaner(home, amicleanup.Newest(1))
	c.Targets = append(c.Targets, target("eu-central-1", far))
	plan := mustPlan(t, c)
	if diff := cmp.Diff([]string{"ami-web1", "ami-web2"}, removals(plan)); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	if got := why(plan, "ami-web0"); got != "is being copied to ami-copy in eu-central-1" {
		t.Errorf("kept because it %q", got)
	}
	copying(ec2types.ImageStateAvailable)
	if diff := cmp.Diff([]string{"ami-web0", "ami-web1", "ami-web2"}, removals(mustPlan(t, c))); diff != "" {
		t.Errorf("removals after the copy (-want +got):\n%s", diff)
	}
}

// Companies put a prefix in front of their tags.
func TestMarkedKeys(t *testing.T) {
	f := newFake()
	f.series("web", 8)
	for i, key := range []string{"acme:do-not-delete", "ops/Keep", "Legal Hold", "legal:hold", "keeper", "acme:keeper", "hold/until"} {
		f.set(fmt.Sprint("ami-web", i), func(img *ec2types.Image) { img.Tags = tags(key, "yes") })
	}
	if diff := cmp.Diff([]string{"ami-web4", "ami-web5", "ami-web6"}, removals(mustPlan(t, cleaner(f, amicleanup.Newest(1), amicleanup.Marked())))); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
}

// A tag with an unreadable time keeps the image, and the plan says so.
func TestDeleteAfterInvalidTime(t *testing.T) {
	f := newFake()
	f.series("web", 5)
	for i, value := range []string{"31.12.2020", "never", "", "2020-12-31"} {
		f.set(fmt.Sprint("ami-web", i), func(img *ec2types.Image) { img.Tags = tags("delete-after", value) })
	}
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Remove = []amicleanup.Match{amicleanup.DeleteAfter("delete-after"), amicleanup.WithID("ami-web1")}
	plan := mustPlan(t, c)
	if diff := cmp.Diff([]string{"ami-web1", "ami-web3"}, removals(plan)); diff != "" {
		t.Errorf("removals (-want +got):\n%s", diff)
	}
	for image, want := range map[string]string{"ami-web0": `delete-after="31.12.2020"`, "ami-web2": `delete-after=""`} {
		if got := why(plan, image); got != "has an invalid time in tag "+want {
			t.Errorf("%s is kept because it %q, want its tag %s", image, got, want)
		}
	}
}
