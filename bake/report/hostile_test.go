package report_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/buildlog"
	"github.com/bakestone-go/bakestone/bake/report"
	"github.com/bakestone-go/bakestone/bake/telemetry"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// hostileLines are commands for terminals and CI systems, markup, characters that hide or
// reorder text, and bytes that are not UTF-8.
const hostileLines = hostile + "\n\x1b]0;title\a\x1b]52;c;cm0gLXJm\a\x1bPq\x1b\\\x9b2J\r\b\b\b\x7f\x0e\n" +
	"::set-output name=ami::forged\n::endgroup::\n##vso[task.complete]\n##[error]x\n##teamcity[buildStop]\n" +
	"a\x00b\u202e\u2066\u200b\ufeff\u0085\u2028\xff\xfe\n\ttime=2000-01-01 level=ERROR msg=forged\n"

// printHostile writes what a hostile guest prints, with a line of 50 MB.
func printHostile(w io.Writer) {
	_, _ = io.WriteString(w, hostileLines)
	block := append([]byte("\x00\x1b[2J::error::x "), bytes.Repeat([]byte("0123456789abcdef"), 1<<14)...)
	for range 50 << 20 / len(block) {
		_, _ = w.Write(block)
	}
	_, _ = io.WriteString(w, "\nafter the line of 50 MB\n")
}

// TestHostileGuest bakes an image on a hostile guest, and looks at every form in which
// its output is shown or kept.
func TestHostileGuest(t *testing.T) {
	for name, value := range map[string]string{"CI": "", "NO_COLOR": "", "TERM": "xterm"} {
		t.Setenv(name, value)
	}
	var live, plain, grouped, log bytes.Buffer
	recorder := &report.Recorder{}
	spans := tracetest.NewInMemoryExporter()
	traced := telemetry.New(t.Context(), &telemetry.Options{TracerProvider: trace.NewTracerProvider(trace.WithSyncer(spans))})
	dir := t.TempDir()
	files, err := buildlog.Open(dir, &buildlog.Options{MaxSize: 5 << 20, Next: slog.NewTextHandler(&log, nil)})
	if err != nil {
		t.Fatal(err)
	}
	drawn := terminal.New(&live, &terminal.Options{Images: 1, Size: func() (int, int) { return 80, 24 }})
	views := []*terminal.View{drawn, terminal.New(&plain, nil), terminal.New(&grouped, &terminal.Options{Groups: true})}
	observe := func(e bake.Event) {
		for _, v := range views {
			v.Observe(e)
		}
		recorder.Observe(e)
		traced.Observe(e)
	}
	img := &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "install", Do: func(ctx context.Context, m bake.Machine) error {
		out := bake.RunFromContext(ctx).Lines(bake.Stderr)
		printHostile(out)
		bake.RunFromContext(ctx).Say("%s", hostileLines)
		return errors.Join(out.Close(), errors.New(hostileLines), m.Run(ctx, bake.Sh("false "+hostile)))
	}}}}
	results, err := bake.Bake(t.Context(), &bake.Options{Observe: observe, Log: slog.New(traced.LogHandler(files))}, img)
	if err == nil {
		t.Error("Bake = nil, want an error")
	}
	for _, v := range views {
		if err := v.Close(results); err != nil {
			t.Error(err)
		}
	}
	traced.End(err)
	if err := files.Close(); err != nil {
		t.Error(err)
	}
	r := recorder.Report(results)
	forms := map[string]string{
		"live":  regexp.MustCompile(`\x1b\[([0-9;]*m|\d+A|[JK]|\?7[lh])|\r`).ReplaceAllString(live.String(), ""), // its own
		"plain": plain.String(), "grouped": strings.NewReplacer("::group::web", "", "::endgroup::\n", "").Replace(grouped.String()),
		"log": log.String(), "error": err.Error(),
	}
	maps.Copy(forms, written(t, r))
	for _, s := range spans.GetSpans() {
		forms["telemetry"] += fmt.Sprintln(s.Name, s.Status.Description)
		for _, e := range s.Events {
			forms["telemetry"] += fmt.Sprintln(e.Name, e.Attributes)
		}
	}
	if data, err := json.Marshal(r); err != nil || json.Unmarshal(data, &r) != nil {
		t.Errorf("JSON of the report: %v", err)
	}
	for _, s := range r.Images[0].Steps {
		forms["JSON"] += s.Err + "\n"
		for _, l := range s.Lines {
			forms["JSON"] += l.Text + "\n"
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "web-*.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("log files = %q, %v, want one", logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	forms["log file"] = string(text)
	for name, text := range forms {
		checkForm(t, name, text)
	}
	if browser := forms["HTML"]; !strings.Contains(browser, "after the line of 50 MB") || len(browser) > 4<<20 {
		t.Errorf("HTML of %d bytes, want at most 4 MiB with the last line", len(browser))
	}
	if n := len(forms["Markdown"]); n > 60_000 {
		t.Errorf("Markdown of %d bytes, want at most 60,000", n)
	}
	if n := len(forms["log file"]); n > 5<<20+1<<18 {
		t.Errorf("log file of %d bytes, want at most 5 MiB", n)
	}
	if err := xml.Unmarshal([]byte(forms["JUnit"]), new(struct{})); err != nil {
		t.Errorf("JUnit: %v", err)
	}
}

// checkForm reports what a terminal, a CI system or a reader of logs would obey.
func checkForm(t *testing.T, name, text string) {
	t.Helper()
	const looked = 1 << 20 // bytes at the beginning and at the end; the line of 50 MB is the same everywhere
	if len(text) > 2*looked {
		text = strings.ToValidUTF8(text[:looked], "") + strings.ToValidUTF8(text[len(text)-looked:], "")
	}
	if !strings.Contains(text, "[2J") && name != "log" {
		t.Errorf("%s lacks the output", name)
	}
	for _, c := range text {
		if c >= ' ' && c < 0x7f {
			continue
		}
		if unicode.IsControl(c) && c != '\n' && c != '\t' || unicode.Is(unicode.Bidi_Control, c) || unicode.Is(unicode.Cf, c) || c == unicode.ReplacementChar {
			t.Errorf("%s contains %U", name, c)
			break
		}
	}
	switch name {
	case "live", "plain", "grouped", "progress", "annotations", "log", "log file":
		for line := range strings.Lines(text) {
			line = strings.TrimLeft(line, " \t|")
			if strings.HasPrefix(line, "::") && !strings.HasPrefix(line, "::error title=Image web failed::provision 1: install: ") {
				t.Errorf("%s has the command %.60q", name, line)
			}
		}
	}
	switch name {
	case "live", "plain", "grouped", "progress":
		if found := regexp.MustCompile(`##\w*\[`).FindString(text); found != "" {
			t.Errorf("%s has the command %q", name, found)
		}
	}
}

// TestJUnitInChromium lets another parser read the XML.
func TestJUnitInChromium(t *testing.T) {
	browser := testenv.Chromium(t)
	r := &report.Report{Images: []report.Image{{Name: "a\x00b\x1b", Status: bake.StatusFailed, Err: hostile + "\x01\ufffe\xff]]>", Steps: []report.Step{{Name: "x", Err: "y", Lines: []report.Line{{Text: "\x00\x0b\ud7ff" + hostile}}}}}}}
	var text strings.Builder
	if err := r.WriteJUnit(&text); err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(text.String())
	if err != nil {
		t.Fatal(err)
	}
	var got string
	browser.Eval(`(xml => { const d = new DOMParser().parseFromString(xml, "text/xml"); return d.querySelector("parsererror")?.textContent ?? d.querySelector("testcase > failure").parentElement.getAttribute("name"); })(`+string(quoted)+`)`, &got)
	if got != "a\ufffdb\ufffd" {
		t.Errorf("Chromium reads the XML as %q, want the name of the failed test; XML: %s", got, text.String())
	}
}
