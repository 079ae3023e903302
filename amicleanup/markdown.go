package amicleanup

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the plan for a review, in GitHub's Markdown: what is to
// be changed in a table, and what is kept, with the reasons, in one that is
// folded.
func (p *Plan) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Plan of %s\n\nMay be applied until %s.\n", stampText(p.Made), stampText(p.Expires))
	for i := range p.Targets {
		t := &p.Targets[i]
		fmt.Fprintf(&b, "\n### %s\n\n", place(t.Account, t.Region))
		if t.Error != "" {
			fmt.Fprintf(&b, "**Not read:** %s\n", cell(t.Error))
			continue
		}
		fmt.Fprintf(&b, "%s, %d not selected.\n", t.countsText(), t.Unselected)
		for _, c := range t.Coverage {
			if !c.Complete() {
				fmt.Fprintf(&b, "\n**Not read completely:** %s: %s\n", cell(c.Source), cell(c.Error))
			}
		}
		t.markdownTable(&b, func(a Action) bool { return a != Keep && a != Wait })
		if t.Count(Keep)+t.Count(Wait) > 0 {
			fmt.Fprintf(&b, "\n<details><summary>%d kept</summary>\n", t.Count(Keep)+t.Count(Wait))
			t.markdownTable(&b, func(a Action) bool { return a == Keep || a == Wait })
			b.WriteString("\n</details>\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *TargetPlan) markdownTable(b *strings.Builder, which func(Action) bool) {
	head := "\n| action | image | name | made | why |\n|---|---|---|---|---|\n"
	for i := range t.Items {
		item := &t.Items[i]
		if !which(item.Action) {
			continue
		}
		fmt.Fprintf(b, "%s| %s | `%s` | %s | %s | %s |\n", head, item.Action.verb(), item.Image.ID, cell(item.Image.Name), stampText(item.Stamp), cell(item.why()))
		head = ""
	}
}

// cell makes text fit for a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(text)
}

// WriteMarkdown writes the result in GitHub's Markdown.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Result of %s\n\n| where | outcome | image | name | detail |\n|---|---|---|---|---|\n", stampText(r.Finished))
	for i := range r.Images {
		img := &r.Images[i]
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s |\n", place(img.Account, img.Region), img.Outcome, img.ID, cell(img.Name), cell(img.details()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteText writes the report for a person.
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
	var planned, done, kept []string
	pins := make([]string, 0, len(r.Pins))
	for _, a := range actions() {
		if n := r.Actions[a]; n > 0 {
			planned = append(planned, fmt.Sprintf("%d to %s", n, a.verb()))
		}
	}
	for _, o := range []Outcome{Removed, Disabled, Deprecated, Restored, AlreadyDone, Gone, Skipped, Failed, NotTried} {
		if n := r.Done[o]; n > 0 {
			done = append(done, fmt.Sprintf("%d %s", n, o))
		}
	}
	for _, k := range r.Kept {
		kept = append(kept, fmt.Sprintf("%d by %s", k.Images, k.Keeper))
	}
	if r.Blocked > 0 {
		kept = append(kept, fmt.Sprintf("%d only for want of knowledge, or by a limit", r.Blocked))
	}
	for _, p := range r.Pins {
		pins = append(pins, fmt.Sprintf("%s: %s names %s, which %s", place(p.Account, p.Region), p.By, p.ImageID, p.Why))
	}
	section("Planned at "+stampText(r.Made), planned)
	section("Done", done)
	section("Kept", kept)
	if s := r.Saving; s.Images > 0 {
		section("Saved", []string{fmt.Sprintf(
			"0 to %.0f GiB of %s, 0 to %.2f USD a month at %g USD for a GiB; how much depends on the blocks that other snapshots share",
			s.MostGiB, counted(s.Images, "image"), s.MostCost, s.Price)})
	}
	section("Stale pins", pins)
	section("Not read", r.Unread)
	_, err := io.WriteString(w, b.String())
	return err
}
