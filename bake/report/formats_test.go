package report_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/report"
)

// A command is a command of a GitHub workflow.
type command struct {
	name       string
	properties map[string]string
	data       string
}

// parseCommand parses "::NAME KEY=VALUE,KEY=VALUE::DATA". Data escapes "%" and line ends
// as "%25", "%0D" and "%0A"; values of properties escape ":" and "," as well, as "%3A" and
// "%2C".
func parseCommand(line string) (c command, ok bool) {
	rest, ok := strings.CutPrefix(line, "::")
	head, data, found := strings.Cut(rest, "::")
	if !ok || !found {
		return command{}, false
	}
	unescape := strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
	name, list, _ := strings.Cut(head, " ")
	c = command{name: name, data: strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%").Replace(data), properties: map[string]string{}}
	for property := range strings.SplitSeq(list, ",") {
		if key, value, ok := strings.Cut(property, "="); ok {
			c.properties[key] = unescape.Replace(value)
		}
	}
	return c, true
}

// hostileReport has names and errors with what the formats escape.
func hostileReport() *report.Report {
	start := time.Unix(1_800_000_000, 0)
	const bad = "a%0A: b, c=d\r\n::error::<x>&\"']]>"
	return &report.Report{Version: report.Version, Started: start, Finished: start.Add(time.Minute), Images: []report.Image{
		{Name: "web", Status: bake.StatusBaked, Started: start, Finished: start.Add(time.Second)},
		{Name: "reused", Status: bake.StatusReused},
		{Name: "running"},
		{Name: bad, Status: bake.StatusFailed, Err: bad, Steps: []report.Step{{Name: "s", Err: bad, Lines: []report.Line{{Text: "output " + bad}}}}},
		{Name: "after", Status: bake.StatusSkipped, Err: "source image was not baked: " + bad},
		{Name: "stopped", Status: bake.StatusCanceled, Err: "interrupt"},
	}}
}

// TestAnnotationsAsGitHubParsesThem compares the annotations with what a parser of GitHub's
// commands makes of them.
func TestAnnotationsAsGitHubParsesThem(t *testing.T) {
	r := hostileReport()
	var out strings.Builder
	if err := r.WriteAnnotations(&out); err != nil {
		t.Fatal(err)
	}
	type annotation struct{ Level, Title, Text string }
	var got []annotation
	for line := range strings.Lines(out.String()) {
		c, ok := parseCommand(strings.TrimSuffix(line, "\n"))
		if !ok || len(c.properties) != 1 {
			t.Errorf("annotations have the line %q, want commands with a title only", line)
		}
		got = append(got, annotation{c.name, c.properties["title"], c.data})
	}
	var want []annotation
	for _, i := range r.Images {
		switch {
		case i.Status == bake.StatusSkipped:
			want = append(want, annotation{"warning", "Image " + i.Name + " skipped", i.Err})
		case i.Failed():
			want = append(want, annotation{"error", "Image " + i.Name + " " + string(i.Status), i.Err})
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

// A junitElement has the attributes, of which those after a "!" are required, and the
// children that an element may have.
type junitElement struct{ attributes, children []string }

// junitElements returns the elements of JUnit's XML as Jenkins' schema and GitLab's
// documentation have them.
func junitElements() map[string]junitElement {
	return map[string]junitElement{
		"":           {nil, []string{"testsuites"}},
		"testsuites": {[]string{"name", "time", "tests", "failures", "disabled", "errors"}, []string{"testsuite"}},
		"testsuite": {
			[]string{"!name", "!tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"},
			[]string{"properties", "testcase", "system-out", "system-err"},
		},
		"testcase":   {[]string{"!name", "!classname", "assertions", "time", "status", "file"}, []string{"skipped", "error", "failure", "system-out", "system-err"}},
		"skipped":    {[]string{"message", "type"}, nil},
		"failure":    {[]string{"message", "type"}, nil},
		"error":      {[]string{"message", "type"}, nil},
		"system-out": {},
		"system-err": {},
	}
}

// checkJUnit returns what is wrong with JUnit's XML, and the numbers of its elements.
func checkJUnit(text string) (problems []string, counts map[string]int) {
	counts = map[string]int{}
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	open := []string{""}
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return problems, counts
		}
		if err != nil {
			wrong("%v", err)
			return problems, counts
		}
		switch e := token.(type) { //lint:concrete the decoder's tokens
		case xml.StartElement:
			name, parent := e.Name.Local, open[len(open)-1]
			open = append(open, name)
			counts[name]++
			if !slices.Contains(junitElements()[parent].children, name) {
				wrong("<%s> in <%s>", name, parent)
			}
			problems = append(problems, checkAttributes(name, e.Attr)...)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if in := open[len(open)-1]; strings.TrimSpace(string(e)) != "" && junitElements()[in].children != nil {
				wrong("text in <%s>: %q", in, e)
			}
		}
	}
}

func checkAttributes(element string, got []xml.Attr) (problems []string) {
	known := junitElements()[element].attributes
	for _, a := range known {
		name, required := strings.CutPrefix(a, "!")
		if required && !slices.ContainsFunc(got, func(g xml.Attr) bool { return g.Name.Local == name && g.Value != "" }) {
			problems = append(problems, fmt.Sprintf("<%s> without %s", element, name))
		}
	}
	for _, a := range got {
		name, err := a.Name.Local, error(nil)
		switch name {
		case "tests", "failures", "errors", "skipped", "disabled":
			_, err = strconv.ParseUint(a.Value, 10, 32)
		case "time":
			_, err = strconv.ParseFloat(a.Value, 64)
		case "timestamp":
			_, err = time.Parse("2006-01-02T15:04:05", a.Value)
		}
		if err != nil || !slices.Contains(known, name) && !slices.Contains(known, "!"+name) {
			problems = append(problems, fmt.Sprintf("<%s %s=%q>: %v", element, name, a.Value, err))
		}
	}
	return problems
}

// TestJUnitAsJenkinsAndGitLabReadIt checks the XML by their grammar.
func TestJUnitAsJenkinsAndGitLabReadIt(t *testing.T) {
	for name, r := range map[string]*report.Report{"hostile": hostileReport(), "empty": {}} {
		var out strings.Builder
		if err := r.WriteJUnit(&out); err != nil {
			t.Fatal(err)
		}
		problems, counts := checkJUnit(out.String())
		if len(problems) > 0 {
			t.Errorf("%s: %q in\n%s", name, problems, out.String())
		}
		want := map[string]int{"testsuites": 1, "testsuite": 1}
		if name == "hostile" {
			want = map[string]int{"testsuites": 1, "testsuite": 1, "testcase": 6, "failure": 3, "skipped": 1, "system-out": 1}
		}
		if diff := cmp.Diff(want, counts); diff != "" {
			t.Errorf("%s: elements (-want +got):\n%s", name, diff)
		}
	}
	if problems, _ := checkJUnit(`<testsuites><testsuite tests="x"><testcase name="a">text<failure colour=""/></testcase></testsuite></testsuites>`); len(problems) != 5 {
		t.Errorf("checkJUnit finds %q in wrong XML, want 5 problems", problems)
	}
}
