package amicleanup

import (
	"fmt"
	"io"
	"strings"

	"github.com/bakestone-go/bakestone/internal/visible"
)

// maxMarkdown limits the Markdown of a plan and a result: a comment on GitHub
// holds 65,536 characters.
const maxMarkdown = 60_000

// A table writes rows as long as they fit below a limit of the whole text.
type table struct {
	b     *strings.Builder
	limit int
	head  string // written before the first row
	left  int    // rows that did not fit
}

func (t *table) row(text string) {
	if t.left > 0 || t.b.Len()+len(t.head)+len(text) > t.limit {
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
// the changes of each target, removals first, then what is kept in folded tables.
// The text fits into a comment; what does not fit is counted. Targets share the
// space, so that each can show some of its changes.
func (p *Plan) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Plan of %s\n\nMay be applied until %s. %s.\n", timeText(p.Made), timeText(p.Expires), p.savingText())
	hidden := 0
	for i := range p.Targets {
		if b.Len() > maxMarkdown-reserved {
			hidden++
			continue
		}
		p.markdownChanges(&b, i, b.Len()+(maxMarkdown-b.Len())/(len(p.Targets)-i))
	}
	if hidden > 0 {
		fmt.Fprintf(&b, "\n%s not shown here.\n", counted(hidden, "target"))
	}
	for i := range p.Targets {
		t := &p.Targets[i]
		kept := t.Count(Keep) + t.Count(Wait)
		if kept == 0 || b.Len() > maxMarkdown-reserved {
			continue
		}
		fmt.Fprintf(&b, "\n<details><summary>%d kept in %s</summary>\n", kept, place(t.Account, t.Region))
		t.markdownImages(&b, maxMarkdown, Wait, Keep)
		t.markdownSnapshots(&b, maxMarkdown, Keep)
		b.WriteString("\n</details>\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// reserved is the space that a section of a target takes without its tables.
const reserved = 4_000

// savingText describes what the plan removes.
func (p *Plan) savingText() string {
	r := p.Report(nil, 0)
	what := counted(r.Removals, "image")
	if r.Snapshots > 0 {
		what += " and " + counted(r.Snapshots, "snapshot") + " without an image"
	}
	return fmt.Sprintf("%s to remove, at most %.0f GiB and %.2f USD a month", what, r.MaxGiB, r.MaxCost)
}

// markdownChanges writes the section of a target, up to a limit of the whole text.
func (p *Plan) markdownChanges(b *strings.Builder, i, limit int) {
	t := &p.Targets[i]
	fmt.Fprintf(b, "\n### %s\n\n", place(t.Account, t.Region))
	if t.Error != "" {
		fmt.Fprintf(b, "**Not read:** %s\n", cell(t.Error))
		return
	}
	fmt.Fprintf(b, "%s, %d not selected.", t.countsText(), t.Unselected)
	if len(p.Targets) > 1 {
		one := Plan{Targets: p.Targets[i : i+1]}
		fmt.Fprintf(b, " %s.", one.savingText())
	}
	b.WriteByte('\n')
	problems := t.problems()
	const most = 5
	for _, problem := range problems[:min(most, len(problems))] {
		fmt.Fprintf(b, "\n**Problem:** %s\n", cell(problem))
	}
	if left := len(problems) - most; left > 0 {
		fmt.Fprintf(b, "\n%s.\n", counted(left, "more problem"))
	}
	t.markdownImages(b, limit, Remove)
	t.markdownSnapshots(b, limit, Remove)
	for _, a := range actions() {
		if a != Remove && a != Keep && a != Wait {
			t.markdownImages(b, limit, a)
		}
	}
}

func (t *TargetPlan) markdownImages(b *strings.Builder, limit int, which ...Action) {
	rows := table{b: b, limit: limit, head: "\n| action | image | name | made | why |\n|---|---|---|---|---|\n"}
	for _, a := range which {
		for i := range t.Items {
			switch item := &t.Items[i]; {
			case item.Action != a:
			case rows.left > 0:
				rows.left++
			default:
				rows.row(fmt.Sprintf("| %s | `%s` | %s | %s | %s |\n", a, item.Image.ID, cell(item.Image.Name), timeText(item.Image.Timestamp), cell(item.why())))
			}
		}
	}
	rows.close()
}

func (t *TargetPlan) markdownSnapshots(b *strings.Builder, limit int, which Action) {
	rows := table{b: b, limit: limit, head: "\n| action | snapshot without image | description | made | why |\n|---|---|---|---|---|\n"}
	for i := range t.Snapshots {
		s := &t.Snapshots[i]
		if s.Action == which {
			rows.row(fmt.Sprintf("| %s | `%s` | %s | %s | %s |\n", s.Action, s.Snapshot.ID, cell(s.Snapshot.Description), timeText(s.Snapshot.Started), cell(s.Reason)))
		}
	}
	rows.close()
}

// cell escapes text for a cell of a table, and shortens it if it is long.
func cell(text string) string {
	const longest = 500
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "`", "'").Replace(visible.Shorten(text, longest))
}

// WriteMarkdown writes the result in GitHub's Markdown, bounded as that of a plan:
// totals, then failures, then the rest.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## Result of %s\n\n", timeText(r.Finished))
	var totals []string
	for _, o := range outcomes() {
		if n := r.Count(o) + r.CountSnapshots(o); n > 0 {
			totals = append(totals, fmt.Sprintf("%d %s", n, o))
		}
	}
	if len(totals) > 0 {
		fmt.Fprintf(&b, "%s.\n\n", strings.Join(totals, ", "))
	}
	rows := table{b: &b, limit: maxMarkdown, head: "| where | outcome | id | name | detail |\n|---|---|---|---|---|\n"}
	for _, failed := range []bool{true, false} {
		for i := range r.Images {
			if img := &r.Images[i]; (img.Outcome == Failed) == failed {
				rows.row(fmt.Sprintf("| %s | %s | `%s` | %s | %s |\n", place(img.Account, img.Region), img.Outcome, img.ID, cell(img.Name), cell(img.details())))
			}
		}
		for i := range r.Snapshots {
			if s := &r.Snapshots[i]; (s.Outcome == Failed) == failed {
				rows.row(fmt.Sprintf("| %s | %s | `%s` | | %s |\n", place(s.Account, s.Region), s.Outcome, s.ID, cell(s.Detail)))
			}
		}
	}
	rows.close()
	_, err := io.WriteString(w, b.String())
	return err
}
