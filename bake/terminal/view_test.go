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
// second one fails.
func images(n int) []*bake.Image {
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
					time.Sleep(time.Second)
				}
				if i == 1 {
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
		list := images(2)
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
    2:01  node-001  failed (1m0s): image node-001: provision 1: install: nginx: [emerg] ␛[2Jport in use
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

// TestGroups bakes three images at once, of which one prints commands and more than is
// kept.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		view := terminal.New(&out, &terminal.Options{Groups: true})
		list := images(3)
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

// frames keeps the drawings of a View.
type frames struct{ all []string }

func (f *frames) Write(p []byte) (int, error) {
	f.all = append(f.all, string(p))
	return len(p), nil
}

var (
	escapes = regexp.MustCompile(`\x1b\[[0-9;]*m|\x1b\[K`)
	home    = regexp.MustCompile(`^(\x1b\[\d+A)?\r|\x1b\[J$`)
)

// TestDrawing draws runs of one image to 200 on small and large terminals.
func TestDrawing(t *testing.T) {
	setTerminal(t)
	for _, size := range [][2]int{{80, 24}, {150, 50}, {20, 3}, {1, 1}} {
		for _, n := range []int{1, 3, 40, 120} {
			synctest.Test(t, func(t *testing.T) {
				columns, rows := size[0], size[1]
				out := &frames{}
				view := terminal.New(out, &terminal.Options{Images: n, Size: func() (int, int) { return columns, rows }})
				results, err := bake.Bake(t.Context(), &bake.Options{Observe: view.Observe, Parallel: 100}, images(n)...)
				if (err != nil) != (n > 1) {
					t.Errorf("Bake(%d images) = %v", n, err)
				}
				if err := view.Close(results); err != nil {
					t.Error(err)
				}
				all := strings.Join(out.all, "")
				if n == 1 && columns == 80 && !regexp.MustCompile(`0 of 1 ended, 1 running, 0:3\d\nnode-000  provision 1: install +0:3\d\n(  │ line \d+\n){3}`).MatchString(escapes.ReplaceAllString(all, "")) {
					t.Errorf("no drawing of one image after 30 s as wanted: %.2000q", all)
				}
				for _, frame := range out.all[:len(out.all)-1] { // the last one is the table
					plain := escapes.ReplaceAllString(home.ReplaceAllString(frame, ""), "")
					if strings.ContainsAny(plain, "\x1b\r") {
						t.Fatalf("%d images: escape sequence in %q", n, plain)
					}
					if strings.ContainsAny(plain, "✓✗") { // lines that scroll away
						continue
					}
					lines := strings.Split(strings.TrimSuffix(plain, "\n"), "\n")
					if len(lines) > max(rows, 2) {
						t.Fatalf("%d images on %d rows: drew %d lines:\n%s", n, rows, len(lines), plain)
					}
					for _, line := range lines {
						if got := len([]rune(line)); got >= max(columns, 3) {
							t.Fatalf("%d images on %d columns: line of %d: %q", n, columns, got, line)
						}
					}
				}
				if n > 1 && (!strings.Contains(all, "nginx: [emerg] ␛[2Jport in use") || !strings.Contains(escapes.ReplaceAllString(all, ""), "✗ node-001")) {
					t.Errorf("%d images: the failure is missing", n)
				}
			})
		}
	}
}

// TestCancel shows the clean-up of a canceled bake.
func TestCancel(t *testing.T) {
	setTerminal(t)
	synctest.Test(t, func(t *testing.T) {
		out := &frames{}
		view := terminal.New(out, &terminal.Options{Size: func() (int, int) { return 80, 24 }})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		img := images(1)
		img[0].Steps = []bake.Step{{Name: "slow", At: bake.BeforeLaunch, Do: func(context.Context) error { return nil }, Undo: func(context.Context, bake.Outcome) error {
			time.Sleep(10 * time.Second)
			return nil
		}}}
		results, err := bake.Bake(ctx, &bake.Options{Observe: view.Observe}, img...)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Bake = %v, want the end of the context", err)
		}
		if err := view.Close(results); err != nil {
			t.Error(err)
		}
		all := escapes.ReplaceAllString(strings.Join(out.all, ""), "")
		for _, want := range []string{"cleaning up", "– node-000  canceled in"} {
			if !strings.Contains(all, want) {
				t.Errorf("output does not contain %q:\n%s", want, all)
			}
		}
	})
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
			out := &frames{}
			view := terminal.New(out, &terminal.Options{Size: func() (int, int) { return 80, 24 }})
			view.Observe(bake.Event{Kind: bake.StepStarted, Image: "one", Step: "connect"})
			view.Observe(bake.Event{Kind: bake.BuildFinished, Image: "one", Status: bake.StatusBaked})
			if err := view.Close(nil); err != nil {
				t.Error(err)
			}
			all := strings.Join(out.all, "")
			if moves := strings.Contains(all, "\x1b[J"); moves != (name == "NO_COLOR") || strings.Contains(strings.NewReplacer("\x1b[K", "", "\x1b[J", "").Replace(all), "\x1b[") {
				t.Errorf("output = %q", all)
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
