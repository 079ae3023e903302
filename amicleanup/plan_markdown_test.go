package amicleanup_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/amicleanup"
	"github.com/bakestone-go/bakestone/amicleanup/inuse"
)

// comment is the number of characters that a comment on GitHub holds.
const comment = 65_536

// The plan for 10,000 images in two regions fits into a comment. Rows are left out
// here except the first of each table.
func TestMarkdownOfTenThousandImages(t *testing.T) {
	plan := evaluate(t, after(30_000), manyImages(7_000), amicleanup.Newest(5))
	other := evaluate(t, after(30_000), manyImages(3_000), amicleanup.Newest(40))
	other.Targets[0].Region = "eu-central-1"
	other.Targets[0].Coverage = []inuse.Coverage{{Source: "instances", Error: strings.Repeat("denied ", 1_000)}}
	plan.Targets = append(plan.Targets, other.Targets...)
	for i := range 12 {
		snapshot := amicleanup.Snapshot{ID: fmt.Sprintf("snap-%02d", i), Description: strings.Repeat("a|b ", 400), Started: after(i), GiB: 8}
		plan.Targets[1].Snapshots = append(plan.Targets[1].Snapshots, amicleanup.SnapshotItem{Snapshot: snapshot, Action: amicleanup.Remove})
	}
	for i := range 10 {
		plan.Targets[0].Items[i].Action = amicleanup.Deprecate
	}
	var text strings.Builder
	if err := plan.WriteMarkdown(&text); err != nil || text.Len() > comment {
		t.Fatalf("WriteMarkdown: %d bytes, %v", text.Len(), err)
	}
	want := `## Plan of 2027-04-17 22:13:20

May be applied until 2027-04-18 22:13:20. 8445 images and 12 snapshots without an image to remove, at most 67656 GiB and 3382.80 USD a month.

### r

6645 to remove, 10 to deprecate, 345 to keep, 0 not selected. 6645 images to remove, at most 53160 GiB and 2658.00 USD a month.

| action | image | name | made | why |
|---|---|---|---|---|
| remove | ¤ami-00000000000000059¤ | app0 1700320400 | 2023-11-18 15:13:20 | 1 snapshot |
…

6317 more are not shown here.

10 more are not shown here.

### eu-central-1

1800 to remove, 1200 to keep, 0 not selected. 1800 images and 12 snapshots without an image to remove, at most 14496 GiB and 724.80 USD a month.

**Problem:** not read completely: instances: DENIED…

| action | image | name | made | why |
|---|---|---|---|---|
| remove | ¤ami-0000000000000003b¤ | app0 1700212400 | 2023-11-17 09:13:20 | 1 snapshot |
…

1479 more are not shown here.

12 more are not shown here.
`
	got := regexp.MustCompile("(?m)(^\\| remove.*\n)(?:\\| remove.*\n)+").ReplaceAllString(text.String(), "$1…\n")
	got = regexp.MustCompile("(denied )+(deni?e?d?)?").ReplaceAllString(got, "DENIED")
	if diff := cmp.Diff(strings.ReplaceAll(want, "¤", "`"), got); diff != "" {
		t.Errorf("WriteMarkdown (-want +got):\n%s", diff)
	}
}

// Many targets, with errors of any length, fit as well.
func TestMarkdownOfManyTargets(t *testing.T) {
	plan := &amicleanup.Plan{}
	for i := range 500 {
		plan.Targets = append(plan.Targets, amicleanup.TargetPlan{Region: fmt.Sprintf("region-%d", i), Error: strings.Repeat("unreachable\n", 500)})
	}
	var text strings.Builder
	if err := plan.WriteMarkdown(&text); err != nil || text.Len() > comment || !strings.Contains(text.String(), " targets not shown here.") {
		t.Errorf("WriteMarkdown: %d bytes, %v", text.Len(), err)
	}
}

// A result begins with totals and failures.
func TestMarkdownOfResult(t *testing.T) {
	result := &amicleanup.Result{Finished: after(0)}
	for i := range 10_000 {
		img := amicleanup.ImageResult{Region: where, ID: fmt.Sprintf("ami-%d", i), Outcome: amicleanup.Removed}
		if i == 9_999 {
			img.Outcome, img.Detail = amicleanup.Failed, "denied"
		}
		result.Images = append(result.Images, img)
	}
	var text strings.Builder
	if err := result.WriteMarkdown(&text); err != nil || text.Len() > comment {
		t.Fatalf("WriteMarkdown: %d bytes, %v", text.Len(), err)
	}
	want := "9999 removed, 1 failed.\n\n| where | outcome | id | name | detail |\n|---|---|---|---|---|\n| eu-west-1 | failed | `ami-9999` |  | denied |\n"
	if !strings.Contains(text.String(), want) {
		t.Errorf("WriteMarkdown:\n%.500s", text.String())
	}
}
