package amicleanup

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
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
		fmt.Fprintf(&b, "%s: %s, %d not selected\n", place(t.Account, t.Region), t.countsText(), t.Unselected)
		last := ""
		for j := range t.Items {
			item := &t.Items[j]
			if id := item.groupID(); j == 0 || id != last {
				last = id
				fmt.Fprintf(&b, "  %s\n", item.groupTitle())
			}
			fmt.Fprintf(&b, "    %-6s\t%s\t%s\t%s\t%s\n", item.Action.verb(), item.Image.ID, item.Image.Name, stampText(item.Stamp), item.why())
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

// actions are all of them, those that change most first.
func actions() []Action { return []Action{Deregister, Disable, Deprecate, Restore, Wait, Keep} }

// countsText is "2 to remove, 3 to keep": those two always, the others if any.
func (t *TargetPlan) countsText() string {
	var parts []string
	for _, a := range actions() {
		if n := t.Count(a); n > 0 || a == Keep || a == Deregister {
			parts = append(parts, fmt.Sprintf("%d to %s", n, a.verb()))
		}
	}
	return strings.Join(parts, ", ")
}

func (a Action) verb() string {
	if a == Deregister {
		return "remove"
	}
	return string(a)
}

func (item *Item) groupTitle() string {
	group := item.Group
	if group == "" {
		group = "(no group)"
	}
	return strings.TrimSpace(group + " " + item.Image.Architecture)
}

func (item *Item) why() string {
	texts := make([]string, 0, len(item.Reasons)+1)
	if item.Action == Deregister {
		texts = append(texts, counted(len(item.Image.Snapshots), "snapshot"))
	}
	for _, r := range item.Reasons {
		text := r.Text
		if len(r.Evidence) > 0 {
			text += " (" + strings.Join(r.Evidence, ", ") + ")"
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
// wanted changed.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	for i := range r.Images {
		img := &r.Images[i]
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", place(img.Account, img.Region), img.Outcome, img.ID, img.Name, img.details())
	}
	return align(w, b.String())
}

func (img *ImageResult) details() string {
	var parts []string
	if img.Detail != "" {
		parts = append(parts, img.Detail)
	}
	for _, s := range img.Snapshots {
		text := fmt.Sprintf("%s %s", s.ID, s.Outcome)
		if s.Detail != "" {
			text += ": " + s.Detail
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
