package amicleanup

import (
	"fmt"
	"io"
	"strings"
)

// maxMarkdown limits the Markdown of a plan and a result: a comment on GitHub
// holds 65,536 characters.
const maxMarkdown = 60_000

// A table writes rows as long as they fit.
type table struct {
	b    *strings.Builder
	head string // written before the first row
	left int    // rows that did not fit
}

func (t *table) row(text string) {
	if t.left > 0 || t.b.Len()+len(t.head)+len(text) > maxMarkdown {
		t.left++
		return
	}
	t.b.WriteString(t.head)
	t.b.WriteString(text)
	t.head = ""
}

func (t *table) close() {
	if t.left > 0 {
		fmt.Fprintf(t.b, "\n%d more are not shown here.\n", t.left)
	}
}

// WriteMarkdown writes the plan for a review, in GitHub's Markdown: totals, then
// changes, removals first, then what is kept in folded tables. The text fits into
// a comment; what does not fit is counted.
func (p *Plan) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	report := p.Report(nil, 0)
	fmt.Fprintf(&b, "## Plan of %s\n\nMay be applied until %s. ", timeText(p.Made), timeText(p.Expires))
	fmt.Fprintf(&b, "%s to remove, at most %.0f GiB and %.2f USD a month.\n", counted(report.Removals, "image"), report.MaxGiB, report.MaxCost)
	for i := range p.Targets {
		t := &p.Targets[i]
		fmt.Fprintf(&b, "\n### %s\n\n", place(t.Account, t.Region))
		if t.Error != "" {
			fmt.Fprintf(&b, "**Not read:** %s\n", cell(t.Error))
			continue
		}
		fmt.Fprintf(&b, "%s, %d not selected.\n", t.countsText(), t.Unselected)
		for _, problem := range t.problems() {
			fmt.Fprintf(&b, "\n**Problem:** %s\n", cell(problem))
		}
		for _, a := range actions() {
			if a != Keep && a != Wait {
				t.markdownImages(&b, a)
			}
		}
		t.markdownSnapshots(&b, Remove)
	}
	for i := range p.Targets {
		t := &p.Targets[i]
		kept := t.Count(Keep) + t.Count(Wait)
		if kept == 0 || b.Len() > maxMarkdown {
			continue
		}
		fmt.Fprintf(&b, "\n<details><summary>%d kept in %s</summary>\n", kept, place(t.Account, t.Region))
		t.markdownImages(&b, Wait, Keep)
		t.markdownSnapshots(&b, Keep)
		b.WriteString("\n</details>\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *TargetPlan) markdownImages(b *strings.Builder, which ...Action) {
	rows := table{b: b, head: "\n| action | image | name | made | why |\n|---|---|---|---|---|\n"}
	for _, a := range which {
		for i := range t.Items {
			item := &t.Items[i]
			if item.Action == a {
				rows.row(fmt.Sprintf("| %s | `%s` | %s | %s | %s |\n", a, item.Image.ID, cell(item.Image.Name), timeText(item.Image.Timestamp), cell(item.why())))
			}
		}
	}
	rows.close()
}

func (t *TargetPlan) markdownSnapshots(b *strings.Builder, which Action) {
	rows := table{b: b, head: "\n| action | snapshot without image | description | made | why |\n|---|---|---|---|---|\n"}
	for i := range t.Snapshots {
		s := &t.Snapshots[i]
		if s.Action == which {
			rows.row(fmt.Sprintf("| %s | `%s` | %s | %s | %s |\n", s.Action, s.Snapshot.ID, cell(s.Snapshot.Description), timeText(s.Snapshot.Started), cell(s.Reason)))
		}
	}
	rows.close()
}

// cell escapes text for a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(text)
}

// WriteMarkdown writes the result in GitHub's Markdown, bounded as that of a plan.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Result of %s\n\n", timeText(r.Finished))
	rows := table{b: &b, head: "| where | outcome | id | name | detail |\n|---|---|---|---|---|\n"}
	for i := range r.Images {
		img := &r.Images[i]
		rows.row(fmt.Sprintf("| %s | %s | `%s` | %s | %s |\n", place(img.Account, img.Region), img.Outcome, img.ID, cell(img.Name), cell(img.details())))
	}
	for i := range r.Snapshots {
		s := &r.Snapshots[i]
		rows.row(fmt.Sprintf("| %s | %s | `%s` | | %s |\n", place(s.Account, s.Region), s.Outcome, s.ID, cell(s.Detail)))
	}
	rows.close()
	_, err := io.WriteString(w, b.String())
	return err
}
