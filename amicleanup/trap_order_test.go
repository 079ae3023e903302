package amicleanup_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// The traps of grouping images, and of putting them in order.

// A pattern that is not anchored takes the images of another node along.
func TestTrapCommonPrefix(t *testing.T) {
	f := newFake()
	f.series("web", 3)
	f.series("web admin", 3)
	f.series("my web", 3)
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Select.Name = "web {unix}"
	plan := mustPlan(t, c)
	if got := removals(plan); !cmp.Equal(got, []string{"ami-web0", "ami-web1"}) {
		t.Errorf("removals %v", got)
	}
	c.Policy.Select.Name = "{group} {unix}" // each its own group
	if got := removals(mustPlan(t, c)); len(got) != 6 {
		t.Errorf("removals %v", got)
	}
}

// An image that is in two groups is kept in one and removed in the other.
func TestTrapOneImageInTwoGroups(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.series("web2", 2)
	seen := map[string]int{}
	for _, item := range mustPlan(t, cleaner(f, amicleanup.Newest(1))).Targets[0].Items {
		seen[item.Image.ID]++
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s is in the plan %d times", id, n)
		}
	}
}

// Tag keys match as a whole, and images without the tag have no group.
func TestTrapPartialTagKeys(t *testing.T) {
	f := newFake()
	add := func(id string, pairs ...string) {
		f.add(id, "image "+id, func(i *ec2types.Image) {
			i.Tags = tags(pairs...)
			i.CreationDate = aws.String(after(len(f.images)).Format("2006-01-02T15:04:05.000Z"))
		})
	}
	add("ami-0", "role", "web")
	add("ami-1", "role-of", "web")
	add("ami-2", "role", "web")
	add("ami-3", "environment", "web")
	add("ami-4")
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Select, c.Policy.Group = amicleanup.Select{}, amicleanup.ByTag("role")
	plan := mustPlan(t, c)
	if got := removals(plan); !cmp.Equal(got, []string{"ami-0"}) {
		t.Errorf("removals %v", got)
	}
	if got := why(plan, "ami-4"); got != "has no group" {
		t.Errorf("without a tag it is kept because it %q", got)
	}
}

// With a group for each version of a definition the old versions never go.
func TestTrapGroupPerVersion(t *testing.T) {
	f := newFake()
	for i, version := range []string{"1.0.0", "1.1.0", "2.0.0"} {
		f.add("ami-"+version, "web-"+version+" "+unix(after(i)), func(img *ec2types.Image) {
			img.Tags = tags("bakestone:build", "b", "bakestone:image", "web", "bakestone:stamp", unix(after(i)), "version", version)
		})
	}
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Select = amicleanup.Select{Baked: true}
	if got := removals(mustPlan(t, c)); !cmp.Equal(got, []string{"ami-1.0.0", "ami-1.1.0"}) {
		t.Errorf("removals %v", got)
	}
}

func unix(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

// Builds of two architectures under one name clean up each other's images.
func TestTrapArchitectures(t *testing.T) {
	f := newFake()
	f.series("web", 4)
	for _, id := range []string{"ami-web0", "ami-web2"} {
		f.set(id, func(img *ec2types.Image) { img.Architecture = ec2types.ArchitectureValuesArm64 })
	}
	if got := removals(mustPlan(t, cleaner(f, amicleanup.Newest(1)))); !cmp.Equal(got, []string{"ami-web0", "ami-web1"}) {
		t.Errorf("removals %v", got)
	}
}

// Seconds, milliseconds and dates in one series sort wrongly as strings or numbers.
func TestTrapTimestampWidths(t *testing.T) {
	f := newFake()
	f.add("ami-0", "web 999999999", nil) // 2001
	f.add("ami-1", "web 1700000000", nil)
	f.add("ami-2", "web 1700000000000", nil)
	f.add("ami-3", "web 20231114221320", nil)
	plan := mustPlan(t, cleaner(f, amicleanup.Newest(1)))
	if got := removals(plan); !cmp.Equal(got, []string{"ami-0"}) {
		t.Errorf("removals %v", got)
	}
	for _, id := range []string{"ami-2", "ami-3"} {
		if got := why(plan, id); !strings.Contains(got, "is not in seconds since 1970") {
			t.Errorf("%s is kept because it %q", id, got)
		}
	}
}

// An image without a readable date must not count as the oldest.
func TestTrapUnreadableTime(t *testing.T) {
	f := newFake()
	for i, date := range []string{"2023-11-14T22:13:20.000Z", "yesterday", "2023-11-15T22:13:20.000Z"} {
		f.add(fmt.Sprint("ami-", i+1), "web", func(img *ec2types.Image) { img.CreationDate = aws.String(date) })
	}
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Select.Name = "web"
	plan := mustPlan(t, c)
	if got := removals(plan); !cmp.Equal(got, []string{"ami-1"}) {
		t.Errorf("removals %v", got)
	}
	if got := why(plan, "ami-2"); got != "has no readable creation date" {
		t.Errorf("it is kept because it %q", got)
	}
}

// UTC and local time differ by hours, which may be an image or two.
func TestTrapLocalTime(t *testing.T) {
	now := time.Date(2023, 11, 15, 23, 0, 0, 0, time.FixedZone("east", 14*60*60)) // 09:00 UTC
	images := []amicleanup.Image{
		{ID: "ami-0", Name: "web 20231114-085959", State: "available"},
		{ID: "ami-1", Name: "web 20231114-090001", State: "available"},
		{ID: "ami-2", Name: "web 20231115-090000", State: "available"},
	}
	policy := amicleanup.Policy{
		Select: amicleanup.Select{Name: "{group} {time:20060102-150405}"},
		Keep:   []amicleanup.Rule{amicleanup.YoungerThan(day)},
	}
	if got := removals(policy.Evaluate(now, "r", images...)); !cmp.Equal(got, []string{"ami-0"}) {
		t.Errorf("removals %v", got)
	}
}

// Public images have a deprecation time two years ahead from the start: that
// is not deprecated.
func TestTrapDeprecationTimeAhead(t *testing.T) {
	f := newFake()
	f.series("web", 2)
	f.set("ami-web0", func(img *ec2types.Image) {
		img.DeprecationTime = aws.String(after(2 * 365 * 24).Format("2006-01-02T15:04:05.000Z"))
	})
	c, _ := lifecycleCleaner(f, amicleanup.Newest(1))
	if got := outcomes(night(t, c)); !cmp.Equal(got, []string{"ami-web0 deprecated"}) {
		t.Errorf("outcomes %v", got)
	}
}

// Images of other owners may have the same names and tags.
func TestTrapImagesOfOthers(t *testing.T) {
	w := newEstate(t, 3, nil)
	for i := range 3 {
		w.Publish(ec2test.Image{Name: fmt.Sprintf("web %d", after(100+i).Unix()), Owner: neighbour})
	}
	plan := w.check()
	if n := len(plan.Targets[0].Items); n != 3 {
		t.Errorf("%d images in the plan, want the own 3", n)
	}
}
