package terminal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/terminal"
)

// setTerminal sets the environment of a usual terminal.
func setTerminal(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{"CI": "", "NO_COLOR": "", "TERM": "xterm-256color"} {
		t.Setenv(name, value)
	}
}

// images returns n images, each of which takes a minute and prints a line a second. The
// one with the index failing fails, if there is one.
func images(n, failing int) []*bake.Image {
	builder := baketest.NewBuilder(nil)
	list := make([]*bake.Image, n)
	for i := range list {
		list[i] = &bake.Image{Name: fmt.Sprintf("node-%03d", i), Builder: builder, Provisioners: []bake.Provisioner{bake.ProvisionFunc{
			Name: "install",
			Do: func(ctx context.Context, _ bake.Machine) error {
				out := bake.RunFromContext(ctx).Lines(bake.Stdout)
				defer func() { _ = out.Close() }()
				for s := range 60 {
					_, _ = fmt.Fprintf(out, "line %d\n", s)
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(time.Second):
					}
				}
				if i == failing {
					return errors.New("nginx: [emerg] \x1b[2Jport in use\n::error::x")
				}
				return nil
			},
		}}}
	}
	return list
}

func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		view := terminal.New(&out, nil)
		list := images(2, 1)
		list[0].Steps = []bake.Step{{Name: "flaky", At: bake.BeforeCapture, Retry: bake.Retry{Attempts: 2, Delay: time.Second}, Do: failOnce()}}
		var results []*bake.Result
		for n, img := range list { // one after the other, in this order
			r, err := bake.Bake(t.Context(), &bake.Options{Observe: view.Observe}, img)
			if (err != nil) != (n == 1) {
				t.Errorf("Bake(%s) = %v", img.Name, err)
			}
			results = append(results, r...)
		}
		if err := view.Close(results); err != nil {
			t.Fatal(err)
		}
		got := regexp.MustCompile(`(image-)\d+`).ReplaceAllString(out.String(), "${1}N")
		got = regexp.MustCompile(`.*line ([1-9]|\d\d)\n`).ReplaceAllString(got, "")
		want := `    0:00  node-000  launch machine
    0:00  node-000  connect
    0:00  node-000  provision 1: install
    0:00  node-000  | line 0
    1:00  node-000  flaky
    1:00  node-000  flaky failed: not yet; next attempt in 1s
    1:01  node-000  flaky (attempt 2)
    1:01  node-000  save image
    1:01  node-000  remove machine
    1:01  node-000  promote image
    1:01  node-000  baked image-N (1m1s)
    1:01  node-001  launch machine
    1:01  node-001  connect
    1:01  node-001  provision 1: install
    1:01  node-001  | line 0
    2:01  node-001  provision 1: install failed: nginx: [emerg] ␛[2Jport in use; cleaning up
    2:01  node-001  failed (1m0s): provision 1: install: nginx: [emerg] ␛[2Jport in use
    2:01  node-001  : :error::x

IMAGE     RESULT  TIME  SLOWEST STEP                 ARTIFACT
node-000  baked   1:01  provision 1: install (1:00)  image-N
node-001  failed  1:00  provision 1: install (1:00)

1 baked, 1 failed
`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	})
}

// TestPlainDisarmsCommands prints what CI systems would take for commands.
func TestPlainDisarmsCommands(t *testing.T) {
	var out bytes.Buffer
	view := terminal.New(&out, &terminal.Options{RawOutput: true})
	for _, text := range []string{"::error::x", " \t::set-output name=a::b", "##[error]x", "a ##vso[task.setvariable variable=a]b", "##TeamCity[x]", "## Title", "###[group]", "a::b"} {
		view.Observe(bake.Event{Kind: bake.OutputLine, Image: "i", Text: text})
	}
	view.Observe(bake.Event{Kind: bake.BuildFinished, Image: "i", Status: bake.StatusFailed, Err: "failed\n\t::warning::x\n##[section]"})
	for _, bad := range []string{" ::", "\t::", "##[", "##vso[", "##TeamCity["} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("view printed %q:\n%s", bad, out.String())
		}
	}
	for _, good := range []string{"## Title", "a::b", ": :error::x"} {
		if !strings.Contains(out.String(), good) {
			t.Errorf("view did not print %q:\n%s", good, out.String())
		}
	}
}

// TestMessages shows what a person must notice while a build runs, in both forms.
func TestMessages(t *testing.T) {
	setTerminal(t)
	const login = "breakpoint: the build is paused; log in with: ssh -p 2222 -o UserKnownHostsFile=/tmp/known_hosts ubuntu@192.0.2.1"
	synctest.Test(t, func(t *testing.T) {
		var plain bytes.Buffer
		s := newScreen(80, 24)
		views := []*terminal.View{terminal.New(&plain, nil), terminal.New(s, &terminal.Options{Size: s.size})}
		for _, e := range []bake.Event{
			{Kind: bake.BuildResumed, Step: "connect"},
			{Kind: bake.StepStarted, Step: "provision 1"},
			{Kind: bake.Message, Step: "provision 1", Text: "attempt 1 of 3 failed, retrying in 5s", Err: "exit status 1"},
			{Kind: bake.Message, Step: "provision 1", Text: "waiting for the step to stop"},
			{Kind: bake.BuildPaused, Step: "provision 1", Text: login},
		} {
			e.Time, e.Image = time.Now(), "web"
			for _, view := range views {
				view.Observe(e)
			}
		}
		time.Sleep(time.Second)
		drawn := s.look()
		for _, view := range views {
			if err := view.Close(nil); err != nil {
				t.Error(err)
			}
		}
		want := "    0:00  web  resumed at connect\n    0:00  web  provision 1\n    0:00  web    attempt 1 of 3 failed, retrying in 5s\n" +
			"    0:00  web    waiting for the step to stop\n    0:00  web  " + login + "\n"
		if diff := cmp.Diff(want, plain.String()); diff != "" {
			t.Errorf("plain lines (-want +got):\n%s", diff)
		}
		want = "! web  attempt 1 of 3 failed, retrying in 5s\n! web  build paused\n│ " + login[:78] + "\n" + login[78:] + "\n" +
			"0 ended, 1 running, 0:00\nweb    0:00  provision 1\n  │ waiting for the step to stop\n"
		if diff := cmp.Diff(want, drawn); diff != "" {
			t.Errorf("screen (-want +got):\n%s", diff)
		}
	})
}

// TestGroups bakes three images at once, of which one prints commands and more than is
// kept.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		view := terminal.New(&out, &terminal.Options{Groups: true})
		list := images(3, 1)
		list[2].Name = "100%\n::error::x"
		list[2].Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "noise", Do: func(ctx context.Context, _ bake.Machine) error {
			lines := bake.RunFromContext(ctx).Lines(bake.Stdout)
			defer func() { _ = lines.Close() }()
			for range 10_000 {
				_, _ = io.WriteString(lines, "::endgroup::\n::error::forged "+strings.Repeat("x", 100)+"\n")
			}
			_, _ = io.WriteString(lines, "last\n")
			return nil
		}}}
		results, err := bake.Bake(t.Context(), &bake.Options{Observe: view.Observe}, list...)
		if err == nil {
			t.Error("Bake = nil, want the error of the second image")
		}
		view.Observe(bake.Event{Time: time.Now(), Kind: bake.OutputLine, Image: "late", Text: "of no end"})
		if err := view.Close(results); err != nil {
			t.Fatal(err)
		}
		var got []string
		open, size := "", 0
		for line := range strings.Lines(out.String()) {
			switch {
			case strings.HasPrefix(line, "::group::") && open == "":
				open, size = line, 0
				got = append(got, strings.TrimSpace(line))
			case line == "::endgroup::\n" && open != "":
				if size > 257<<10 {
					t.Errorf("group %q has %d bytes, want at most 256 KiB", open, size)
				}
				open = ""
			case strings.HasPrefix(strings.TrimSpace(line), "::"):
				t.Fatalf("command in the output: %q", line)
			}
			size += len(line)
			if strings.Contains(line, "| ") == (open == "") && strings.Contains(line, "| ") {
				t.Errorf("output outside of a group: %q", line)
			}
		}
		slices.Sort(got)
		want := []string{"::group::100%25␊::error::x: 20001 lines of output", "::group::late: 1 lines of output", "::group::node-000: 60 lines of output", "::group::node-001: 60 lines of output"}
		if diff := cmp.Diff(want, got); diff != "" || open != "" {
			t.Errorf("groups (-want +got), open is %q:\n%s", open, diff)
		}
		for _, text := range []string{"lines omitted …", "| last\n", "  provision 1: install\n"} {
			if !strings.Contains(out.String(), text) {
				t.Errorf("output lacks %q", text)
			}
		}
	})
}

// failOnce returns a func that fails the first time.
func failOnce() func(context.Context) error {
	failed := false
	return func(context.Context) error {
		if failed {
			return nil
		}
		failed = true
		return errors.New("not yet")
	}
}

// TestNoResults closes a view after a bake whose images are invalid, about which the
// error of Bake says all.
func TestNoResults(t *testing.T) {
	var out bytes.Buffer
	view := terminal.New(&out, nil)
	if err := view.Close(nil); err != nil || out.Len() > 0 {
		t.Errorf("Close(nil) = %v, printed %q, want no error and no text", err, out.String())
	}
}

func TestEnvironment(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"CI": {"CI": "true"}, "dumb": {"TERM": "dumb"}, "NO_COLOR": {"NO_COLOR": "1"},
	} {
		t.Run(name, func(t *testing.T) {
			setTerminal(t)
			for variable, value := range env {
				t.Setenv(variable, value)
			}
			var out bytes.Buffer
			view := terminal.New(&out, &terminal.Options{Size: func() (int, int) { return 80, 24 }})
			view.Observe(bake.Event{Kind: bake.StepStarted, Image: "one", Step: "connect"})
			view.Observe(bake.Event{Kind: bake.BuildFinished, Image: "one", Status: bake.StatusBaked})
			if err := view.Close(nil); err != nil {
				t.Error(err)
			}
			drawn := strings.Contains(out.String(), "\x1b[J")
			if colors := regexp.MustCompile(`\x1b\[\d*m`).MatchString(out.String()); colors || drawn != (name == "NO_COLOR") {
				t.Errorf("output = %q", out.String())
			}
		})
	}
}

func TestWriteFails(t *testing.T) {
	r, w := io.Pipe()
	_ = r.Close()
	view := terminal.New(w, nil)
	view.Observe(bake.Event{Kind: bake.StepStarted, Image: "one", Step: "connect"})
	if err := view.Close(nil); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Close = %v, want the error of the writer", err)
	}
}
