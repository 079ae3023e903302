package amicleanup

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes the plan for people: one line per image, by target and group,
// with the reasons to keep it.
func (p *Plan) WriteText(w io.Writer) error {
	var b strings.Builder
	for i := range p.Targets {
		t := &p.Targets[i]
		if t.Error != "" {
			fmt.Fprintf(&b, "%s: not read: %s\n", place(t.Account, t.Region), t.Error)
			continue
		}
		fmt.Fprintf(&b, "%s: %s, %d not selected\n", place(t.Account, t.Region), t.countsText(), t.Unselected)
		for _, problem := range t.problems() {
			fmt.Fprintf(&b, "  %s\n", problem)
		}
		last := ""
		for j := range t.Items {
			item := &t.Items[j]
			if id := item.groupID(); j == 0 || id != last {
				last = id
				fmt.Fprintf(&b, "  %s\n", item.groupTitle())
			}
			fmt.Fprintf(&b, "    %-6s\t%s\t%s\t%s\t%s\n", item.Action, item.Image.ID, item.Image.Name, timeText(item.Image.Timestamp), item.why())
		}
		t.writeSnapshots(&b)
	}
	return align(w, b.String())
}

// problems lists what is unknown about a target, each once, and examples of images
// if none is selected.
func (t *TargetPlan) problems() []string {
	var all []string
	for _, c := range t.Coverage {
		if c.Error != "" {
			all = append(all, fmt.Sprintf("not read completely: %s: %s", c.Source, c.Error))
		}
	}
	if t.SnapshotError != "" {
		all = append(all, "snapshots not read: "+t.SnapshotError)
	}
	if len(t.Items) == 0 && t.Unselected > 0 {
		all = append(all, "none of the images is selected, such as "+strings.Join(t.Examples, ", "))
	}
	return all
}

func (t *TargetPlan) writeSnapshots(b *strings.Builder) {
	if len(t.Snapshots) == 0 {
		return
	}
	fmt.Fprintf(b, "  snapshots without an image\n")
	for i := range t.Snapshots {
		s := &t.Snapshots[i]
		fmt.Fprintf(b, "    %-6s\t%s\t%s\t%s\t%s\n", s.Action, s.Snapshot.ID, s.Snapshot.Description, timeText(s.Snapshot.Started), s.Reason)
	}
}

// align writes text with its tabs turned into columns.
func align(w io.Writer, text string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(tw, text); err != nil {
		return err
	}
	return tw.Flush()
}

// actions returns all actions, those that change most first.
func actions() []Action { return []Action{Remove, Unprotect, Disable, Deprecate, Restore, Wait, Keep} }

// countsText returns "2 to remove, 3 to keep", with other actions if there are
// any.
func (t *TargetPlan) countsText() string {
	var parts []string
	for _, a := range actions() {
		if n := t.Count(a); n > 0 || a == Keep || a == Remove {
			parts = append(parts, fmt.Sprintf("%d to %s", n, a))
		}
	}
	return strings.Join(parts, ", ")
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
	if item.Action == Remove {
		texts = append(texts, counted(len(item.Image.Snapshots), "snapshot"))
	}
	if item.Match != "" {
		texts = append(texts, "must go by "+item.Match)
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

// WriteText writes the result for people: one line per image and snapshot that the
// plan was to change.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	for i := range r.Images {
		img := &r.Images[i]
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", place(img.Account, img.Region), img.Outcome, img.ID, img.Name, img.details())
	}
	for i := range r.Snapshots {
		s := &r.Snapshots[i]
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", place(s.Account, s.Region), s.Outcome, s.ID, "", s.Detail)
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
