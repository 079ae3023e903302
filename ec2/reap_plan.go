package ec2

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bakestone-go/bakestone/internal/visible"
)

// A Leftover is a resource whose expiry has passed.
type Leftover struct {
	Account string    `json:"account"`
	Region  string    `json:"region,omitempty"` // empty for instance profiles and roles
	Kind    string    `json:"kind"`             // as in bake.Resource: "instance", "security group"
	ID      string    `json:"id"`               // of instance profiles and roles the name
	Build   string    `json:"build,omitempty"`
	Image   string    `json:"image,omitempty"` // name of the bake.Image
	Expires time.Time `json:"expires,omitzero"`

	// Kept is why the resource stays. It is empty if it is to be removed, or was.
	Kept string `json:"kept,omitempty"`
}

// A ReapPlan lists the resources that have expired. It marshals to JSON.
type ReapPlan struct {
	At    time.Time  `json:"at,omitzero"` // AWS's time; the earliest if its places differ
	Items []Leftover `json:"items"`
}

// A ReapResult tells what Reaper.Apply did. Resources that no longer existed are in
// neither list.
type ReapResult struct {
	Removed []Leftover `json:"removed"`
	Kept    []Leftover `json:"kept"`
}

// A ReapError reports a resource that could not be removed.
type ReapError struct {
	Leftover Leftover
	Err      error
}

// Error names the resource.
func (e *ReapError) Error() string {
	return fmt.Sprintf("remove %s %s of build %s: %v", e.Leftover.Kind, e.Leftover.ID, e.Leftover.Build, e.Err)
}

// Unwrap returns the error.
func (e *ReapError) Unwrap() error { return e.Err }

// String returns the plan for people, one line per resource.
func (p *ReapPlan) String() string {
	remove, keep := 0, 0
	for _, l := range p.Items {
		if l.Kept == "" {
			remove++
		} else {
			keep++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "left by dead builds: %d to remove, %d kept\n", remove, keep)
	writeLeftovers(&b, "remove", p.Items)
	return b.String()
}

// String returns the result for people, one line per resource.
func (r *ReapResult) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "left by dead builds: %d removed, %d kept\n", len(r.Removed), len(r.Kept))
	writeLeftovers(&b, "removed", slices.Concat(r.Removed, r.Kept))
	return b.String()
}

func writeLeftovers(b *strings.Builder, removed string, items []Leftover) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, l := range items {
		action, why := removed, "expired "+l.Expires.UTC().Format(time.RFC3339)
		if l.Kept != "" {
			action, why = "keep", l.Kept
		}
		// Tags may contain anything. A Builder does not fail.
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\n", action, placeName(l.Account, l.Region), l.Kind, l.ID,
			visible.Text(l.Image+" "+l.Build), visible.Text(why))
	}
	_ = w.Flush()
}

// placeName names a region of an account, or its IAM.
func placeName(account, region string) string { return account + "/" + cmp.Or(region, "iam") }

func (p *ReapPlan) sort() { sortLeftovers(p.Items) }

func sortLeftovers(items []Leftover) {
	slices.SortFunc(items, func(a, b Leftover) int {
		return cmp.Or(
			strings.Compare(a.Account, b.Account), strings.Compare(a.Region, b.Region), strings.Compare(a.Build, b.Build),
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID),
		)
	})
}
