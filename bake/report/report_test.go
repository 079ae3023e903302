package report_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/report"
)

const hostile = "\x1b[2J</pre><script>alert(1)</script>::error::x\n::set-output name=a::b\n| a | b |\n```\n]]> \x00 \u202e"

// bakeAll bakes four images: app is made from base, whose provisioner fails once; bad
// fails, and never is made from it.
func bakeAll(t *testing.T, opts bake.Options, recorder *report.Recorder) *report.Report {
	t.Helper()
	builder := baketest.NewBuilder(nil)
	step := func(name string, do func(ctx context.Context, m bake.Machine) error) []bake.Provisioner {
		return []bake.Provisioner{bake.ProvisionFunc{Name: name, Do: do}}
	}
	attempts := 0
	base := &bake.Image{Name: "base", Builder: builder, Provisioners: step("install", func(ctx context.Context, _ bake.Machine) error {
		time.Sleep(time.Minute)
		run := bake.RunFromContext(ctx)
		for n := range 100 {
			run.Say("line %d", n)
		}
		run.Emit(bake.Event{Kind: bake.APICalled, Text: "EC2 RunInstances", Elapsed: time.Second, Err: "throttled"})
		run.Emit(bake.Event{Kind: bake.APICalled, Text: "EC2 RunInstances", Elapsed: time.Second})
		run.Emit(bake.Event{Kind: bake.APICalled, Text: "EC2 CreateImage"})
		return nil
	})}
	base.Steps = []bake.Step{{Name: "wobble", At: bake.BeforeCapture, Retry: bake.Retry{Attempts: 2, Delay: time.Second}, Do: func(context.Context) error {
		if attempts++; attempts == 1 {
			return errors.New("not yet")
		}
		return nil
	}}}
	app := &bake.Image{Name: "app", Builder: builder, From: base, Provisioners: step("deploy", func(context.Context, bake.Machine) error {
		time.Sleep(30 * time.Second)
		return nil
	})}
	bad := &bake.Image{Name: "bad", Builder: builder, Provisioners: step("break <b>", func(ctx context.Context, _ bake.Machine) error {
		time.Sleep(10 * time.Second)
		out := bake.RunFromContext(ctx).Lines(bake.Stderr)
		_, _ = io.WriteString(out, hostile+"\n")
		_ = out.Close()
		return errors.New(hostile)
	})}
	never := &bake.Image{Name: "never", Builder: builder, From: bad}
	opts.Observe = recorder.Observe
	results, err := bake.Bake(t.Context(), &opts, base, app, bad, never)
	if err == nil {
		t.Error("Bake = nil, want the error of bad")
	}
	return recorder.Report(results)
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := bakeAll(t, bake.Options{}, &report.Recorder{Lines: 10})
		if got, want := r.Elapsed(), 91*time.Second; got != want {
			t.Errorf("Elapsed() = %v, want %v", got, want)
		}
		var got []string
		for _, i := range r.Images {
			got = append(got, fmt.Sprintf("%s from %q: %s, %v, critical %v, failed %v, id %v", i.Name, i.From, i.Status, i.Elapsed(), i.Critical, i.Failed(), i.IDs["memory"] != ""))
		}
		want := []string{
			`base from "": baked, 1m1s, critical true, failed false, id true`,
			`app from "base": baked, 30s, critical true, failed false, id true`,
			`bad from "": failed, 10s, critical false, failed true, id false`,
			`never from "bad": skipped, 0s, critical false, failed true, id false`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Report() (-want +got):\n%s", diff)
		}
		find := func(i report.Image, name string) report.Step {
			n := slices.IndexFunc(i.Steps, func(s report.Step) bool { return s.Name == name })
			if n < 0 {
				t.Fatalf("image %s has no step %q: %+v", i.Name, name, i.Steps)
			}
			return i.Steps[n]
		}
		install := find(r.Images[0], "provision 1: install")
		var lines []string
		for _, l := range install.Lines {
			lines = append(lines, l.Text)
		}
		if got, want := strings.Join(lines, ","), "line 0,line 1,line 2,line 3,line 4,line 95,line 96,line 97,line 98,line 99"; got != want || install.Omitted != 90 {
			t.Errorf("lines of install = %s and %d omitted, want %s and 90", got, install.Omitted, want)
		}
		if install.Elapsed != time.Minute || install.Err != "" {
			t.Errorf("install = %v, %q, want 1m and no error", install.Elapsed, install.Err)
		}
		wobble := find(r.Images[0], "wobble")
		if wobble.Attempts != 2 || wobble.Err != "" || len(wobble.Lines) != 1 || wobble.Lines[0].Text != "attempt 1 failed: not yet; next in 1s" {
			t.Errorf("wobble = %+v, want two attempts, one line", wobble)
		}
		wantCalls := []report.Calls{{Action: "EC2 CreateImage", Count: 1}, {Action: "EC2 RunInstances", Count: 2, Failed: 1, Elapsed: 2 * time.Second}}
		if diff := cmp.Diff(wantCalls, r.Images[0].Calls); diff != "" || r.Images[0].TotalCalls().Count != 3 {
			t.Errorf("Calls of base (-want +got):\n%s", diff)
		}
		if got, want := r.Images[0].Reuse, "not reused: the image has no fingerprint"; got != want {
			t.Errorf("Reuse of base = %q, want %q", got, want)
		}
		failed := r.Images[2].FailedStep()
		if failed == nil || failed.Name != "provision 1: break <b>" || len(failed.Lines) == 0 || !failed.Lines[0].Err {
			t.Errorf("FailedStep() = %+v, want break with lines of stderr", failed)
		}
		if left := r.Images[2].Resources; len(left) != 0 {
			t.Errorf("bad has the resources %v, want none", left)
		}
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back report.Report
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*r, back, cmpopts.EquateEmpty()); diff != "" || back.Version != report.Version {
			t.Errorf("JSON, read again (-want +got):\n%s", diff)
		}
	})
}

// written returns the report in each form for people and CI systems.
func written(t *testing.T, r *report.Report) map[string]string {
	t.Helper()
	forms := map[string]string{}
	for name, write := range map[string]func(io.Writer) error{
		"HTML": r.WriteHTML, "JUnit": r.WriteJUnit, "Markdown": r.WriteMarkdown, "annotations": r.WriteAnnotations,
	} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Errorf("Write%s = %v", name, err)
		}
		forms[name] = b.String()
	}
	return forms
}

// TestHostileOutput writes a report with output that is meant for the reader's program.
func TestHostileOutput(t *testing.T) {
	for _, raw := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := bakeAll(t, bake.Options{RawOutput: raw}, &report.Recorder{})
			forms := written(t, r)
			for name, text := range forms {
				for _, c := range text {
					if c < ' ' && c != '\n' && c != '\t' || c == '\u202e' {
						t.Errorf("%s contains %U", name, c)
						break
					}
				}
			}
			if page := forms["HTML"]; strings.Contains(page, "<script>alert") || strings.Contains(page, "break <b>") || !strings.Contains(page, "break &lt;b&gt;") {
				t.Errorf("HTML does not escape: %s", page)
			}
			lines := strings.Split(strings.TrimSpace(forms["annotations"]), "\n")
			if len(lines) != 2 || !strings.HasPrefix(lines[0], "::error title=Image bad failed::provision 1: ") || !strings.HasPrefix(lines[1], "::warning title=Image never skipped::") {
				t.Errorf("annotations = %q, want an error of bad and a warning of never", lines)
			}
			if text := forms["Markdown"]; !strings.Contains(text, "````text\n") || !strings.Contains(text, "| bad | failed | 10s | provision 1: break \\<b\\> (10s) |") {
				t.Errorf("Markdown = %s", text)
			}
			var suites struct {
				Suite struct {
					Tests    int `xml:"tests,attr"`
					Failures int `xml:"failures,attr"`
					Skipped  int `xml:"skipped,attr"`
					Cases    []struct {
						Name    string  `xml:"name,attr"`
						Failure *string `xml:"failure"`
						Output  string  `xml:"system-out"`
					} `xml:"testcase"`
				} `xml:"testsuite"`
			}
			if err := xml.Unmarshal([]byte(forms["JUnit"]), &suites); err != nil {
				t.Fatal(err)
			}
			s := suites.Suite
			if s.Tests != 4 || s.Failures != 1 || s.Skipped != 1 || len(s.Cases) != 4 || s.Cases[2].Failure == nil || !strings.Contains(s.Cases[2].Output, "::error::x") {
				t.Errorf("JUnit = %+v, want four tests of which bad fails with its output", s)
			}
		})
	}
}

// TestReportOfRunningBake takes a report while an image is baked.
func TestReportOfRunningBake(t *testing.T) {
	recorder := &report.Recorder{}
	var running *report.Report
	img := &bake.Image{Name: "one", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{bake.ProvisionFunc{
		Name: "look", Do: func(context.Context, bake.Machine) error {
			running = recorder.Report(nil)
			return nil
		},
	}}}
	if _, err := bake.Bake(t.Context(), &bake.Options{Observe: recorder.Observe}, img); err != nil {
		t.Fatal(err)
	}
	if len(running.Images) != 1 || running.Images[0].Status != "" || running.Images[0].Failed() {
		t.Errorf("Report() during the bake = %+v, want one image without a status", running.Images)
	}
	var page strings.Builder
	if err := running.WriteHTML(&page); err != nil || !strings.Contains(page.String(), "1 running") {
		t.Errorf("WriteHTML = %v, %s; want \"1 running\"", err, page.String())
	}
	if err := (&report.Recorder{}).Report(nil).WriteHTML(io.Discard); err != nil {
		t.Errorf("WriteHTML of an empty report = %v", err)
	}
}

// TestMarkdownFitsComment summarizes 5,000 failed images.
func TestMarkdownFitsComment(t *testing.T) {
	r := &report.Report{}
	for n := range 5000 {
		r.Images = append(r.Images, report.Image{Name: fmt.Sprint("image", n), Status: bake.StatusFailed, Err: strings.Repeat("long ", 1000)})
	}
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil || b.Len() > 60_000 || !strings.Contains(b.String(), "4800 more images") {
		t.Errorf("WriteMarkdown = %v, %d bytes, want at most 60,000 and 4800 more images", err, b.Len())
	}
}
