package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/report"
)

// FuzzReport checks that no text of a machine ends the element, command or block that it
// is in.
func FuzzReport(f *testing.F) {
	for _, seed := range []string{
		"plain", "</script><script>alert(1)</script>", "]]>&<\x00\xff\ufffe", "\n::set-env name=x::y\r\n##[error]", "```\n````\n# x", "| a |\n", "{{.}}", "'\"><img src=x onerror=y>",
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		of := func(name, text string) *report.Report {
			step := report.Step{Name: name, Started: at, Elapsed: time.Second, Attempts: 1, Err: text, Lines: []report.Line{{Time: at, Kind: bake.OutputLine, Text: text}}}
			return &report.Report{Started: at, Finished: at.Add(time.Minute), Images: []report.Image{
				{Name: name, From: name, Build: name, Status: bake.StatusFailed, Artifact: text, IDs: map[string]string{name: text}, Err: text, Started: at, Finished: at, Kept: text, Steps: []report.Step{step}},
			}}
		}
		r := of(name, text)
		write := func(what string, f func(*bytes.Buffer) error) string {
			var b bytes.Buffer
			if err := f(&b); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			return b.String()
		}
		junit := write("JUnit", func(b *bytes.Buffer) error { return r.WriteJUnit(b) })
		var suites struct {
			Cases []struct {
				Failure []struct{} `xml:"failure"`
			} `xml:"testsuite>testcase"`
		}
		if err := xml.Unmarshal([]byte(junit), &suites); err != nil || len(suites.Cases) != 1 || len(suites.Cases[0].Failure) != 1 {
			t.Errorf("JUnit's XML has %+v, %v:\n%s", suites, err, junit)
		}
		commands := write("annotations", func(b *bytes.Buffer) error { return r.WriteAnnotations(b) })
		if strings.Count(commands, "\n") != 1 || strings.Contains(commands, "\r") {
			t.Errorf("annotations of one image are %q", commands)
		}
		markdown := write("Markdown", func(b *bytes.Buffer) error { return r.WriteMarkdown(b) })
		if len(markdown) > 60_000 {
			t.Errorf("Markdown has %d bytes", len(markdown))
		}
		page := write("HTML", func(b *bytes.Buffer) error { return r.WriteHTML(b) })
		plain := write("HTML", func(b *bytes.Buffer) error { return of("x", "x").WriteHTML(b) })
		for _, mark := range []string{"<script", "</script", "<img", "<style", "<!--"} {
			if got, want := strings.Count(strings.ToLower(page), mark), strings.Count(strings.ToLower(plain), mark); got != want {
				t.Errorf("the page has %s %d times, want %d", mark, got, want)
			}
		}
		encoded := write("JSON", func(b *bytes.Buffer) error { return json.NewEncoder(b).Encode(r) })
		var again report.Report
		if err := json.Unmarshal([]byte(encoded), &again); err != nil || len(again.Images) != 1 {
			t.Errorf("JSON %s: %v", encoded, err)
		}
	})
}
