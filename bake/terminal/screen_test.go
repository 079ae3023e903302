package terminal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/terminal"
)

// A screen is a virtual terminal, which cuts lines when it becomes narrower. Those that
// wrap them then are tested in tmux.
type screen struct {
	mu sync.Mutex
	vt *vt.Emulator
}

func newScreen(columns, rows int) *screen { return &screen{vt: vt.NewEmulator(columns, rows)} }

// Write shows p as after a terminal's line discipline.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.vt.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	return len(p), err
}

func (s *screen) size() (columns, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vt.Width(), s.vt.Height()
}

// resize changes the size. If the cursor would be below the last row, lines scroll away.
func (s *screen) resize(columns, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if below := s.vt.CursorPosition().Y - (rows - 1); below > 0 {
		_, _ = fmt.Fprintf(s.vt, "\x1b[%dS\x1b[%dA", below, below)
	}
	s.vt.Resize(columns, rows)
}

// look returns what is on the screen, without blank rows at its end.
func (s *screen) look() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.TrimRight(s.vt.String(), "\n") + "\n"
}

// history returns the lines that scrolled away.
func (s *screen) history() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, line := range s.vt.Scrollback().Lines() {
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// bakeOn bakes images on the screen and calls watch meanwhile. The builds start one
// after the other, so that what is shown does not depend on the scheduler. It returns the
// error of the view.
func (s *screen) bakeOn(ctx context.Context, list []*bake.Image, watch func()) error {
	view := terminal.New(s, &terminal.Options{Images: len(list), Size: s.size})
	results := make([]*bake.Result, len(list))
	var all sync.WaitGroup
	for i, img := range list {
		all.Go(func() {
			time.Sleep(time.Duration(1+7*i) * time.Millisecond)
			r, _ := bake.Bake(ctx, &bake.Options{Observe: view.Observe}, img) // the screen has the error
			results[i] = r[0]
		})
	}
	watch()
	all.Wait()
	return view.Close(results)
}

// golden compares text with a file, or writes the file if BAKESTONE_UPDATE is set.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if os.Getenv("BAKESTONE_UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got; BAKESTONE_UPDATE=1 writes it):\n%s", path, diff)
	}
}

// TestScreen bakes on terminals of two sizes, and looks at them while the images are
// baked, while they are cleaned up, and at the end with the history.
func TestScreen(t *testing.T) {
	setTerminal(t)
	for _, size := range [][2]int{{80, 24}, {150, 50}} {
		for _, n := range []int{1, 3, 40} {
			for _, outcome := range []string{"success", "failure", "cancel"} {
				name := fmt.Sprintf("%dx%d-%02d-%s", size[0], size[1], n, outcome)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { testScreen(t, name, newScreen(size[0], size[1]), n, outcome) })
				})
			}
		}
	}
}

func testScreen(t *testing.T, name string, s *screen, n int, outcome string) {
	t.Helper()
	failing := -1
	if outcome == "failure" {
		failing = n / 2
	}
	list := images(n, failing)
	for i, img := range list {
		img.Steps = []bake.Step{{Name: "slow undo", At: bake.BeforeLaunch, Do: func(context.Context) error { return nil }, Undo: func(_ context.Context, end bake.Outcome) error {
			if end != bake.Succeeded {
				time.Sleep(5*time.Second + time.Duration(i)*7*time.Millisecond)
			}
			return nil
		}}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var b strings.Builder
	look := func(title string, want ...string) {
		t.Helper()
		shown := s.look()
		fmt.Fprintf(&b, "%s\n%s", line(title), shown)
		for _, w := range want {
			if strings.Count(shown, w) != 1 {
				t.Errorf("%s: the screen does not show %q once:\n%s", title, w, shown)
			}
		}
	}
	err := s.bakeOn(ctx, list, func() {
		time.Sleep(30 * time.Second)
		look("after 30 seconds", fmt.Sprintf("0 of %d ended, %d running", n, n), "node-000    0:29  provision 1: install")
		if outcome != "cancel" {
			return
		}
		cancel()
		time.Sleep(2 * time.Second)
		look("2 seconds after the cancellation", fmt.Sprintf("0 of %d ended, %d running", n, n), "node-000    0:01  cleaning up: removed machine machine-1")
	})
	if err != nil {
		t.Error(err)
	}
	look("at the end")
	history := s.history()
	fmt.Fprintf(&b, "%s\n%s", line("history"), history)
	golden(t, name, b.String())

	shown := history + s.look()
	if strings.Contains(shown, " running, ") || strings.Contains(shown, "│ line") && outcome != "failure" {
		t.Errorf("the drawing stays after Close:\n%s", shown)
	}
	for i := range n { // in a line that scrolled away and in the table
		times := 1 + min(1, n-1)
		if got := strings.Count(shown, fmt.Sprintf("node-%03d  ", i)); got != times {
			t.Errorf("image %d is named %d times, want %d:\n%s", i, got, times, shown)
		}
	}
	if failed := strings.Contains(shown, "│ provision 1: install: nginx: [emerg] ␛[2Jport in use\n│ : :error::x\n"); failed != (outcome == "failure") {
		t.Errorf("the cause of the failure is shown: %t\n%s", failed, shown)
	}
	if n > 1 {
		want := map[string]string{
			"success": fmt.Sprintf("%d baked\n", n), "failure": fmt.Sprintf("%d baked, 1 failed\n", n-1), "cancel": fmt.Sprintf("%d canceled\n", n),
		}[outcome]
		if !strings.HasSuffix(s.look(), "\n\n"+want) {
			t.Errorf("the screen ends with %q, want %q", s.look(), want)
		}
	}
}

// line returns a line with a title.
func line(title string) string { return "──── " + title + " ────" }

// TestSmallScreen bakes many images on small terminals, which no drawing may scroll.
func TestSmallScreen(t *testing.T) {
	setTerminal(t)
	for _, size := range [][2]int{{80, 24}, {20, 3}, {10, 2}, {3, 1}, {1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := newScreen(size[0], size[1])
			err := s.bakeOn(t.Context(), images(120, -1), func() {
				time.Sleep(30 * time.Second)
				if history := s.history(); history != "" {
					t.Errorf("drawings scroll a terminal of %d columns and %d rows:\n%s", size[0], size[1], history)
				}
				if shown := s.look(); !strings.HasPrefix(shown, "0 of 120 ended, 120 running"[:min(27, max(0, size[0]-2))]) {
					t.Errorf("a terminal of %d columns and %d rows shows:\n%s", size[0], size[1], shown)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestResize resizes a terminal while images are baked on it.
func TestResize(t *testing.T) {
	setTerminal(t)
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(80, 24)
		list := images(16, -1)
		list[0].Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "short", Do: func(context.Context, bake.Machine) error { return errors.New("planted") }}}
		var b strings.Builder
		err := s.bakeOn(t.Context(), list, func() {
			time.Sleep(10 * time.Second)
			for _, size := range [][2]int{{80, 24}, {40, 24}, {120, 24}, {120, 10}, {120, 40}, {60, 15}, {60, 6}, {80, 24}} {
				s.resize(size[0], size[1])
				time.Sleep(150 * time.Millisecond)
				if shown := s.look(); strings.Contains(shown, "install") && size[0] != 80 {
					t.Errorf("%d columns, %d rows: want the summary only just after a resize:\n%s", size[0], size[1], shown)
				}
				time.Sleep(600 * time.Millisecond)
				shown := s.look()
				fmt.Fprintf(&b, "%s\n%s", line(fmt.Sprintf("%d columns, %d rows", size[0], size[1])), shown)
				if strings.Count(shown, "1 of 16 ended, 15 running") != 1 {
					t.Errorf("%d columns, %d rows: want one summary:\n%s", size[0], size[1], shown)
				}
				last := "node-015"
				if 15 > size[1]-1-size[1]/5 {
					last = " more\n"
				}
				if strings.Count(shown, "node-003 ") != 1 || strings.Count(shown, last) != 1 {
					t.Errorf("%d columns, %d rows: want each image on one line:\n%s", size[0], size[1], shown)
				}
				if shown := s.history(); strings.Contains(shown, "running") || strings.Contains(shown, "install") {
					t.Errorf("%d columns, %d rows: drawings in the history:\n%s", size[0], size[1], shown)
				}
			}
		})
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(&b, "%s\n%s%s\n%s", line("at the end"), s.look(), line("history"), s.history())
		golden(t, "resize", b.String())
	})
}

// TestLongLines shows a step whose name does not fit beside its bar, errors that need
// several rows, one of which fits exactly, and a name that is wider than the terminal.
func TestLongLines(t *testing.T) {
	setTerminal(t)
	synctest.Test(t, func(t *testing.T) {
		s := newScreen(40, 14)
		view := terminal.New(s, &terminal.Options{Size: s.size})
		at := time.Now()
		for _, e := range []bake.Event{
			{Kind: bake.StepStarted, Time: at, Image: "a long name of an image", Step: "a step whose name does not fit"},
			{Kind: bake.BytesMoved, Time: at, Image: "a long name of an image", Text: "/srv/file", Done: 50, Total: 200},
			{Kind: bake.OutputLine, Time: at, Image: "a long name of an image", Text: "tab\tand " + strings.Repeat("中文", 20)},
			{Kind: bake.BuildFinished, Time: at, Image: "exact", Status: bake.StatusFailed, Err: strings.Repeat("0123456789", 8)[:78] + "\nnext\n\tindented"},
			{Kind: bake.BuildFinished, Time: at, Image: strings.Repeat("long", 10), Status: bake.StatusFailed, Err: strings.Repeat("文", 30)},
		} {
			view.Observe(e)
		}
		time.Sleep(150 * time.Millisecond)
		golden(t, "long-lines", s.look())
		if err := view.Close(nil); err != nil {
			t.Error(err)
		}
	})
}
