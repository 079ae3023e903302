package amicleanup

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// DefaultPrice is what a GiB in the standard tier of EBS snapshots costs in a
// month, in US dollars, in most regions of the United States: "Amazon EBS
// pricing", 2026.
const DefaultPrice = 0.05

// A Report sums up a plan and, when it was applied, its result. It is plain
// data, and written as text or Markdown for people.
type Report struct {
	Made    time.Time       `json:"made"`
	Actions map[Action]int  `json:"actions"` // images of the plan, by action
	Kept    []KeptCount     `json:"kept"`    // why, the most frequent first
	Blocked int             `json:"blocked"` // images that are only kept since something is not known, or by a limit
	Done    map[Outcome]int `json:"done,omitempty"`
	Saving  Saving          `json:"saving"`
	Pins    []StalePin      `json:"stale_pins,omitempty"`
	Unread  []string        `json:"unread,omitempty"` // targets and why they could not be read
}

// A KeptCount is how many images one keeper keeps. An image that several want
// counts for each.
type KeptCount struct {
	Keeper string `json:"keeper"`
	Images int    `json:"images"`
}

// A Saving is what the snapshots of the images to be removed cost. EC2 bills a
// block once however many snapshots have it, and does not tell which have it;
// so nothing may be saved by a removal, at least, and at most the full size of
// the snapshots: of their blocks where ReadSizes was called, else of their
// volumes.
type Saving struct {
	Images   int     `json:"images"`
	MostGiB  float64 `json:"most_gib"`
	Price    float64 `json:"price"`      // assumed, in dollars per GiB and month
	MostCost float64 `json:"most_month"` // dollars per month; the least is zero
}

// Report sums up the plan and its result, which is nil before it was applied.
// With a result, only what was removed counts as saved. A price of zero is
// DefaultPrice.
func (p *Plan) Report(result *Result, price float64) *Report {
	r := &Report{Made: p.Made, Actions: map[Action]int{}, Saving: Saving{Price: cmp.Or(price, DefaultPrice)}}
	removed := map[string]bool{}
	if result != nil {
		r.Done = map[Outcome]int{}
		for i := range result.Images {
			r.Done[result.Images[i].Outcome]++
			removed[result.Images[i].ID] = result.Images[i].Outcome == Removed
		}
	}
	kept := map[string]int{}
	for i := range p.Targets {
		t := &p.Targets[i]
		if t.Error != "" {
			r.Unread = append(r.Unread, place(t.Account, t.Region)+": "+t.Error)
		}
		for j := range t.Items {
			item := &t.Items[j]
			r.Actions[item.Action]++
			if item.Action == Deregister && (result == nil || removed[item.Image.ID]) {
				r.Saving.add(&item.Image)
			}
			if item.Action == Keep {
				for keeper := range item.keepers() {
					kept[keeper]++
				}
			}
			if (item.Action == Keep || item.Action == Wait) && item.blocked() {
				r.Blocked++
			}
		}
	}
	for _, keeper := range slices.Sorted(maps.Keys(kept)) {
		r.Kept = append(r.Kept, KeptCount{keeper, kept[keeper]})
	}
	slices.SortStableFunc(r.Kept, func(a, b KeptCount) int { return cmp.Compare(b.Images, a.Images) })
	r.Saving.MostCost = r.Saving.MostGiB * r.Saving.Price
	return r
}

func (item *Item) keepers() map[string]bool {
	all := map[string]bool{}
	for _, reason := range item.Reasons {
		all[reason.Keeper] = true
	}
	return all
}

const bytesPerGiB = 1 << 30

func (s *Saving) add(img *Image) {
	s.Images++
	if img.Bytes > 0 {
		s.MostGiB += float64(img.Bytes) / bytesPerGiB
	} else {
		s.MostGiB += float64(img.GiB)
	}
}
