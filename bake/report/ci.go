package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/amount"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// WriteMarkdown writes a summary: a table of the images and the errors of those that
// failed. It lists at most 200 images, failed ones first, and is shorter than 60,000
// bytes, which GitHub and GitLab accept as a comment.
func (r *Report) WriteMarkdown(w io.Writer) error {
	const maxImages, maxBytes, maxErr = 200, 60_000, 2000
	var b strings.Builder
	all := r.count()
	counts := make([]string, 0, len(all))
	for _, c := range all {
		counts = append(counts, fmt.Sprintf("%d %s", c.N, c.Status))
	}
	fmt.Fprintf(&b, "**%s** in %s\n\n| image | result | time | slowest step | artifact |\n|---|---|--:|---|---|\n", strings.Join(counts, ", "), amount.Duration(r.Elapsed()))
	images := r.failedFirst()
	shown := 0
	for _, i := range images {
		slowest := ""
		if s := i.slowest(); s != nil {
			slowest = s.Name + " (" + amount.Duration(s.Elapsed) + ")"
		}
		row := fmt.Sprintf("| %s | %s | %s | %s | %s |\n", cell(i.Name), state(i.Status), amount.Duration(i.Elapsed()), cell(slowest), cell(i.Artifact))
		if shown == maxImages || b.Len()+len(row) > maxBytes/2 {
			break
		}
		b.WriteString(row)
		shown++
	}
	if left := len(images) - shown; left > 0 {
		fmt.Fprintf(&b, "\n%d more images.\n", left)
	}
	for _, i := range images {
		if !i.Failed() || i.Err == "" {
			continue
		}
		text := fmt.Sprintf("\n**%s**\n\n%s", cell(i.Name), fence(visible.Shorten(i.Err, maxErr)))
		if b.Len()+len(text) > maxBytes-100 {
			b.WriteString("\nMore errors are left out.\n")
			break
		}
		b.WriteString(text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) failedFirst() []*Image {
	var failed, others []*Image
	for n := range r.Images {
		if i := &r.Images[n]; i.Failed() {
			failed = append(failed, i)
		} else {
			others = append(others, i)
		}
	}
	return append(failed, others...)
}

// slowest returns the step that took longest, or nil.
func (i *Image) slowest() *Step {
	var slowest *Step
	for n := range i.Steps {
		if s := &i.Steps[n]; !s.Undo && (slowest == nil || s.Elapsed > slowest.Elapsed) {
			slowest = s
		}
	}
	return slowest
}

// cell escapes text for a table or a line of Markdown.
func cell(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c == '\n':
			c = ' '
		case c < 0x80 && strings.ContainsRune("\\`*_{}[]<>#|!~&@", c):
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// fence returns text as a code block that it cannot end.
func fence(text string) string {
	marks := "```"
	for strings.Contains(text, marks) {
		marks += "`"
	}
	return marks + "text\n" + text + "\n" + marks + "\n"
}

// WriteAnnotations writes one command of GitHub Actions per failed image, which shows
// the beginning of the error with the run. Print it to the standard output of a step.
func (r *Report) WriteAnnotations(w io.Writer) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	const maxErr = 4000 // bytes
	for n := range r.Images {
		i := &r.Images[n]
		if !i.Failed() {
			continue
		}
		level := "error"
		if i.Status == bake.StatusSkipped {
			level = "warning"
		}
		if _, err := fmt.Fprintf(w, "::%s title=%s::%s\n", level, property.Replace("Image "+i.Name+" "+string(i.Status)), data.Replace(visible.Shorten(i.Err, maxErr))); err != nil {
			return err
		}
	}
	return nil
}

// The elements of JUnit's XML that Jenkins and GitLab read.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Time      string      `xml:"time,attr"`
		Timestamp string      `xml:"timestamp,attr"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Time    string       `xml:"time,attr"`
		Failure *junitReason `xml:"failure"`
		Skipped *junitReason `xml:"skipped"`
		Output  string       `xml:"system-out,omitempty"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes JUnit's XML: a test suite of the run with a test for each image,
// which fails if the image failed or was canceled. The output of a failed step is the
// test's.
func (r *Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{
		Name: "bake", Tests: len(r.Images), Time: seconds(r.Elapsed()), Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"),
	}
	for n := range r.Images {
		i := &r.Images[n]
		c := junitCase{Class: "bake", Name: i.Name, Time: seconds(i.Elapsed())}
		reason := &junitReason{Message: visible.Shorten(strings.SplitN(i.Err, "\n", 2)[0], 200), Text: i.Err} //nolint:mnd // as much as a list of tests shows
		switch {
		case i.Status == bake.StatusSkipped:
			c.Skipped = reason
			suite.Skipped++
		case i.Failed() || i.Status == "":
			c.Failure = reason
			suite.Failures++
			c.Output = i.FailedStep().text()
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(junitSuites{Suites: []junitSuite{suite}}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// text returns the step's lines.
func (s *Step) text() string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	for n, line := range s.Lines {
		if s.Omitted > 0 && n == len(s.Lines)/2 {
			fmt.Fprintf(&b, "… %d lines omitted …\n", s.Omitted)
		}
		b.WriteString(line.Text + "\n")
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
