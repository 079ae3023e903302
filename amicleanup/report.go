package amicleanup

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// DefaultPrice is the price of a GiB in the standard tier of EBS snapshots for a
// month, in US dollars, in most regions of the United States: "Amazon EBS
// pricing", 2026.
const DefaultPrice = 0.05

// A Report sums up a plan and, if it was applied, its result. It is plain data.
type Report struct {
	Made    time.Time       `json:"made"`
	Actions map[Action]int  `json:"actions"` // images of the plan, by action
	Kept    map[string]int  `json:"kept"`    // images by the rules that keep them; an image may count for several
	Blocked int             `json:"blocked"` // images that are kept only because something is unknown or limited
	Done    map[Outcome]int `json:"done,omitempty"`

	// Removals is the number of images that are to be removed or, with a result,
	// that were. EC2 bills a block that several snapshots share once, and does
	// not tell which share it. So a removal saves between nothing and the full size of
	// the snapshots: MaxGiB, for MaxCost dollars a month at Price for a GiB.
	Removals int     `json:"removals"`
	MaxGiB   float64 `json:"max_gib"`
	MaxCost  float64 `json:"max_cost"`
	Price    float64 `json:"price"`

	// Snapshots is the number of snapshots without an image that are to be
	// removed or, with a result, that were.
	Snapshots int `json:"snapshots"`

	Stale    []string `json:"stale_references,omitempty"`
	Problems []string `json:"problems,omitempty"` // what could not be read
}

// Report sums up the plan and its result, which is nil before the plan was
// applied. Price is that of a GiB and month; zero means DefaultPrice.
func (p *Plan) Report(result *Result, price float64) *Report {
	r := &Report{Made: p.Made, Actions: map[Action]int{}, Kept: map[string]int{}, Price: cmp.Or(price, DefaultPrice)}
	removed := map[string]bool{}
	if result != nil {
		r.Done = map[Outcome]int{}
		for i := range result.Images {
			r.Done[result.Images[i].Outcome]++
			removed[result.Images[i].ID] = result.Images[i].Outcome == Removed
		}
		for i := range result.Snapshots {
			removed[result.Snapshots[i].ID] = result.Snapshots[i].Outcome == Removed
		}
	}
	for i := range p.Targets {
		t := &p.Targets[i]
		where := place(t.Account, t.Region) + ": "
		if t.Error != "" {
			r.Problems = append(r.Problems, where+t.Error)
		}
		for _, problem := range t.problems() {
			r.Problems = append(r.Problems, where+problem)
		}
		for _, s := range t.Stale {
			r.Stale = append(r.Stale, fmt.Sprintf("%s%s names %s, which %s", where, s.By, s.ImageID, s.Why))
		}
		for j := range t.Items {
			r.count(&t.Items[j], result == nil || removed[t.Items[j].Image.ID])
		}
		for j := range t.Snapshots {
			s := &t.Snapshots[j]
			if s.Action == Remove && (result == nil || removed[s.Snapshot.ID]) {
				r.Snapshots++
				r.add(s.Snapshot.Bytes, s.Snapshot.GiB)
			}
		}
	}
	r.MaxCost = r.MaxGiB * r.Price
	return r
}

// count adds an image, which goes unless something kept it.
func (r *Report) count(item *Item, goes bool) {
	r.Actions[item.Action]++
	if item.Action == Remove && goes {
		r.Removals++
		r.add(item.Image.Bytes, item.Image.GiB)
	}
	if item.Action != Keep && item.Action != Wait {
		return
	}
	if item.blocked() {
		r.Blocked++
	}
	seen := map[string]bool{}
	for _, reason := range item.Reasons {
		if item.Action == Keep && !seen[reason.Rule] {
			seen[reason.Rule] = true
			r.Kept[reason.Rule]++
		}
	}
}

const bytesPerGiB = 1 << 30

func (r *Report) add(bytes, gib int64) {
	if bytes > 0 {
		r.MaxGiB += float64(bytes) / bytesPerGiB
	} else {
		r.MaxGiB += float64(gib)
	}
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error { return r.write(w, "", "  ") }

// WriteMarkdown writes the report in GitHub's Markdown.
func (r *Report) WriteMarkdown(w io.Writer) error { return r.write(w, "### ", "- ") }

func (r *Report) write(w io.Writer, head, line string) error {
	var b strings.Builder
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&b, "%s%s\n%s%s\n", head, title, line, strings.Join(lines, "\n"+line))
		}
	}
	var planned, done []string
	for _, a := range actions() {
		if n := r.Actions[a]; n > 0 {
			planned = append(planned, fmt.Sprintf("%d to %s", n, a))
		}
	}
	for _, o := range outcomes() {
		if n := r.Done[o]; n > 0 {
			done = append(done, fmt.Sprintf("%d %s", n, o))
		}
	}
	section("Planned at "+timeText(r.Made), planned)
	section("Done", done)
	section("Kept", r.keptLines())
	if r.Removals+r.Snapshots > 0 {
		what := counted(r.Removals, "image")
		if r.Snapshots > 0 {
			what += " and " + counted(r.Snapshots, "snapshot") + " without an image"
		}
		section("Saved", []string{fmt.Sprintf(
			"0 to %.0f GiB of %s, 0 to %.2f USD a month at %g USD for a GiB; how much depends on the blocks that other snapshots share",
			r.MaxGiB, what, r.MaxCost, r.Price)})
	}
	section("Stale references", r.Stale)
	section("Problems", r.Problems)
	_, err := io.WriteString(w, b.String())
	return err
}

// keptLines lists the rules, that which keeps most images first.
func (r *Report) keptLines() []string {
	rules := slices.Sorted(maps.Keys(r.Kept))
	slices.SortStableFunc(rules, func(a, b string) int { return cmp.Compare(r.Kept[b], r.Kept[a]) })
	lines := make([]string, 0, len(rules)+1)
	for _, rule := range rules {
		lines = append(lines, fmt.Sprintf("%d by %s", r.Kept[rule], rule))
	}
	if r.Blocked > 0 {
		lines = append(lines, fmt.Sprintf("%d only because something is unknown or limited", r.Blocked))
	}
	return lines
}
