package amicleanup

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the plan for a person: one line per image, by target and
// group, with the reasons of those that are kept.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	for i := range p.Targets {
		t := &p.Targets[i]
		if t.Error != "" {
			fmt.Fprintf(&b, "%s: not read: %s\n", place(t.Account, t.Region), t.Error)
			continue
		}
		remove := len(t.removals())
		fmt.Fprintf(&b, "%s: %d to remove, %d to keep, %d not selected\n",
			place(t.Account, t.Region), remove, len(t.Items)-remove, t.Unselected)
		last := ""
		for j := range t.Items {
			item := &t.Items[j]
			if id := item.groupID(); j == 0 || id != last {
				last = id
				fmt.Fprintf(&b, "  %s\n", item.groupTitle())
			}
			fmt.Fprintf(&b, "    %-6s\t%s\t%s\t%s\t%s\n", item.verb(), item.Image.ID, item.Image.Name, item.stampText(), item.why())
		}
	}
	return align(w, b.String())
}

// align writes text with its tabs turned into columns.
func align(w io.Writer, text string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(tw, text); err != nil {
		return err
	}
	return tw.Flush()
}

func (item *Item) groupTitle() string {
	group := item.Group
	if group == "" {
		group = "(no group)"
	}
	return strings.TrimSpace(group + " " + item.Image.Architecture)
}

func (item *Item) verb() string {
	if item.Action == Deregister {
		return "remove"
	}
	return string(item.Action)
}

func (item *Item) stampText() string {
	if item.Stamp.IsZero() {
		return "-"
	}
	return item.Stamp.UTC().Format(time.DateTime)
}

func (item *Item) why() string {
	if item.Action == Deregister {
		return counted(len(item.Image.Snapshots), "snapshot")
	}
	texts := make([]string, 0, len(item.Reasons))
	for _, r := range item.Reasons {
		text := r.Text
		if len(r.Evidence) > 0 {
			text += " by " + strings.Join(r.Evidence, ", ")
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// WriteText writes the result for a person: one line per image that the plan
// wanted removed.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	for i := range r.Images {
		img := &r.Images[i]
		detail := img.Detail
		for _, s := range img.Snapshots {
			if detail != "" {
				detail += "; "
			}
			detail += fmt.Sprintf("%s %s", s.ID, s.Outcome)
			if s.Detail != "" {
				detail += ": " + s.Detail
			}
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", place(img.Account, img.Region), img.Outcome, img.ID, img.Name, detail)
	}
	return align(w, b.String())
}
