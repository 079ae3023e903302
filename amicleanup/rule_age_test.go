package amicleanup_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
)

// evaluate decides about images of one region by rules.
func evaluate(t *testing.T, now time.Time, images []amicleanup.Image, keep ...amicleanup.Rule) *amicleanup.Plan {
	t.Helper()
	policy := amicleanup.Policy{
		Select: amicleanup.Select{Name: "{group} {unix}"}, Keep: keep,
		Limits: amicleanup.Limits{AllowUnusableNewest: true},
	}
	if err := policy.Validate(); err != nil {
		t.Fatal(err)
	}
	return policy.Evaluate(now, "r", images...)
}

// daily returns n images, one a day, named by number.
func daily(n int) []amicleanup.Image {
	images := make([]amicleanup.Image, n)
	for i := range images {
		images[i] = amicleanup.Image{ID: fmt.Sprintf("ami-%03d", i), Name: fmt.Sprintf("web %d", after(24*i).Unix()), State: "available"}
	}
	return images
}

func kept(plan *amicleanup.Plan) []string {
	var ids []string
	for _, item := range plan.Targets[0].Items {
		if item.Action == amicleanup.Keep {
			ids = append(ids, strings.TrimPrefix(item.Image.ID, "ami-"))
		}
	}
	slices.Sort(ids)
	return ids
}

func TestLaunchedWithin(t *testing.T) {
	now := after(100 * 24)
	images := daily(6)
	images[0].LastLaunched = now.Add(-31*day + time.Minute) // within 30 days, told a day late
	images[1].LastLaunched = now.Add(-31 * day)
	images[3].LastLaunched = now.Add(-day)
	images[4].LastLaunched = now.Add(-90 * day)
	plan := evaluate(t, now, images, amicleanup.LaunchedWithin(30*day))
	images[2].Created = time.Date(2017, time.March, 1, 0, 0, 0, 0, time.UTC)
	images[1].Created, images[4].Created = after(0), after(0)
	// 2 is older than EC2's records of launches; 5 is the newest.
	if diff := cmp.Diff([]string{"000", "002", "003", "005"}, kept(plan)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got := why(plan, "ami-002"); got != "may have been launched before EC2 recorded launches" {
		t.Errorf("unknown is kept because it %q", got)
	}
}

func TestKeepUntil(t *testing.T) {
	images := daily(7)
	for i, value := range []string{"2024-02-22", "2024-02-21", "2024-02-22T22:13:21Z", "2024-02-22T22:13:20Z", "for ever", ""} {
		images[i].Tags = map[string]string{"until": value}
	}
	now := time.Date(2024, 2, 22, 22, 13, 20, 0, time.UTC)
	plan := evaluate(t, now, images, amicleanup.KeepUntil("until"))
	// A date lasts to the end of its day; an invalid time keeps.
	if diff := cmp.Diff([]string{"000", "002", "004", "005", "006"}, kept(plan)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

func TestCalendar(t *testing.T) {
	images := daily(400) // from Tuesday, 14 November 2023 to Tuesday, 17 December 2024
	images[399].State = "disabled"
	plan := evaluate(t, after(500*24), images, amicleanup.Calendar{Daily: 3, Weekly: 2, Monthly: 3, Yearly: 5})
	want := []string{
		"047",               // 31 December 2023: the newest of that year
		"352",               // 31 October
		"382",               // 30 November
		"396", "397", "398", // days; 398 also of the week, the month and the year
		"399", // the newest, whatever its state
	}
	week := 398 - 1 // Monday, 16 December is the newest usable; the week before ends on Sunday, the 15th
	if !slices.Contains(want, fmt.Sprintf("%03d", week)) {
		t.Fatal("the test is wrong")
	}
	if diff := cmp.Diff(want, kept(plan)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got := why(plan, "ami-397"); got != "is the newest of day 2024-12-15; is the newest of week 2024-W50" {
		t.Errorf("397 is kept because it %q", got)
	}
	// In another time zone the timestamps, 22:13 UTC, belong to the next day.
	plan = evaluate(t, after(500*24), images, amicleanup.Calendar{Monthly: 2, In: time.FixedZone("", 2*60*60)})
	if diff := cmp.Diff([]string{"381", "398", "399"}, kept(plan)); diff != "" {
		t.Errorf("in another zone (-want +got):\n%s", diff)
	}
}

func TestSharedReadsOnlyCandidates(t *testing.T) {
	f := newFake()
	f.series("web", 5)
	f.shares["ami-web0"] = []ec2types.LaunchPermission{{UserId: aws.String("444455556666")}}
	f.shares["ami-web1"] = []ec2types.LaunchPermission{{Group: ec2types.PermissionGroupAll}}
	f.shares["ami-web4"] = f.shares["ami-web0"]
	c := cleaner(f, amicleanup.Newest(2), amicleanup.Shared())
	c.Policy.Limits.Removals = 1
	plan := mustPlan(t, c)
	if got := removals(plan); !cmp.Equal(got, []string{"ami-web2"}) {
		t.Errorf("removals %v", got)
	}
	asked := slices.DeleteFunc(slices.Clone(f.calls), func(c string) bool { return !strings.HasPrefix(c, "DescribeImageAttribute") })
	want := []string{"DescribeImageAttribute ami-web0", "DescribeImageAttribute ami-web1", "DescribeImageAttribute ami-web2"}
	slices.Sort(asked)
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	f.shares["ami-web2"] = f.shares["ami-web0"] // since
	result, err := c.Apply(t.Context(), plan)
	if err != nil || result.Images[0].Detail != "is shared (account 444455556666)" {
		t.Errorf("Apply: %+v, %v", result.Images, err)
	}
	f.fail = func(action, _ string) error {
		if action == "DescribeImageAttribute" {
			return apiError("UnauthorizedOperation")
		}
		return nil
	}
	plan, err = c.Plan(t.Context())
	if err == nil || plan.Removals() != 0 || why(plan, "ami-web2") != "may be shared: permissions were not read" {
		t.Errorf("without permission: %v, %v, kept because it %q", removals(plan), err, why(plan, "ami-web2"))
	}
}

func TestPublic(t *testing.T) {
	images := daily(3)
	images[0].Public = true
	if got := kept(evaluate(t, after(72), images, amicleanup.Newest(1), amicleanup.Public())); !cmp.Equal(got, []string{"000", "002"}) {
		t.Errorf("kept %v", got)
	}
}

func TestIDsInFiles(t *testing.T) {
	files := fstest.MapFS{
		"prod/main.tf":  {Data: []byte(`ami = "ami-0123456789abcdef0" # was ami-00000001`)},
		"prod/empty.tf": {},
		"notes.txt":     {Data: []byte("ami-99999999")},
	}
	rule, err := amicleanup.IDsInFiles(files, "*/*.tf")
	if err != nil {
		t.Fatal(err)
	}
	images := daily(4)
	images[0].ID, images[1].ID, images[2].ID = "ami-0123456789abcdef0", "ami-00000001", "ami-99999999"
	if got := kept(evaluate(t, after(96), images, rule)); !cmp.Equal(got, []string{"00000001", "003", "0123456789abcdef0"}) {
		t.Errorf("kept %v", got)
	}
	for pattern, want := range map[string]string{"*.md": "no file matches", "[": "syntax error", "prod/empty.tf": "no image id found"} {
		if _, err := amicleanup.IDsInFiles(files, pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", pattern, err, want)
		}
	}
}

// Images of an unfinished build neither count nor go while it may run; later they go.
func TestUnfinishedBuilds(t *testing.T) {
	now := after(10 * 24)
	images := daily(5)
	for i, expires := range map[int]time.Time{1: now.Add(-time.Minute), 3: now.Add(-time.Hour), 4: now.Add(time.Minute)} {
		images[i].Tags = map[string]string{"bakestone:expires": expires.Format(time.RFC3339)}
	}
	images[0].Tags = map[string]string{"bakestone:expires": "soon"}
	plan := evaluate(t, now, images, amicleanup.Newest(1), amicleanup.NewestUsable(1))
	if diff := cmp.Diff([]string{"000", "002", "004"}, kept(plan)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if got := why(plan, "ami-002"); got != "is the newest of its group; is the newest; is the newest usable" {
		t.Errorf("2 is kept because it %q", got)
	}
}

// Images of this library have their group and time in tags.
func TestBaked(t *testing.T) {
	f := newFake()
	baked := func(id, family, stamp string) {
		f.add(id, "any name "+id, func(i *ec2types.Image) {
			i.Tags = tags("bakestone:build", "b-"+id, "bakestone:image", family, "bakestone:stamp", stamp)
		})
	}
	baked("ami-1", "web", "1700000000")
	baked("ami-2", "web", "1700000001")
	baked("ami-3", "db", "1600000000")
	baked("ami-4", "web", "yesterday")
	f.series("other", 3)
	c := cleaner(f, amicleanup.Newest(1))
	c.Policy.Select = amicleanup.Select{Baked: true}
	plan := mustPlan(t, c)
	if got := removals(plan); !cmp.Equal(got, []string{"ami-1"}) || plan.Targets[0].Unselected != 3 {
		t.Errorf("removals %v, %d not selected", got, plan.Targets[0].Unselected)
	}
	if got := why(plan, "ami-4"); got != `timestamp "yesterday" is not in seconds since 1970` {
		t.Errorf("4 is kept because it %q", got)
	}
}
