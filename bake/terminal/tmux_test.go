package terminal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/terminal"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// childVar makes TestTmuxChild bake for a terminal: the number of images, how they end,
// and the pipe that it waits for.
const childVar = "BAKESTONE_TERMINAL_CHILD"

// captureVar names a directory to which TestTmux writes what the terminals show.
const captureVar = "BAKESTONE_SCREENSHOTS"

// TestTmuxChild bakes on a terminal, in a process that TestTmux starts in tmux.
func TestTmuxChild(t *testing.T) {
	args := strings.Fields(os.Getenv(childVar))
	if len(args) != 3 {
		t.Skip("runs in tmux only")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		t.Fatal(err)
	}
	outcome, pipe := args[1], args[2]
	if outcome == "full" { // succeed, below what other programs have printed
		outcome = "success"
		fmt.Fprint(os.Stderr, strings.Repeat("earlier\n", 40))
	}
	wait := func() { _, _ = os.ReadFile(pipe) } // until the test has looked
	goOn := make(chan struct{})
	go func() {
		wait()
		close(goOn)
	}()
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt)
	defer stop()
	view := terminal.New(os.Stderr, &terminal.Options{Images: n})
	results, bakeErr := bake.Bake(ctx, &bake.Options{Observe: view.Observe, Parallel: n}, tmuxImages(n, outcome, goOn)...)
	if err := view.Close(results); err != nil {
		t.Error(err)
	}
	if (bakeErr == nil) != (outcome == "success") {
		t.Errorf("Bake = %v, want %s", bakeErr, outcome)
	}
	wait()
}

// tmuxImages returns images that print hostile lines and wait for goOn. With the outcome
// failure the first one fails then. If they are canceled, their clean-up waits.
func tmuxImages(n int, outcome string, goOn <-chan struct{}) []*bake.Image {
	builder := baketest.NewBuilder(nil)
	list := make([]*bake.Image, n)
	for i := range list {
		list[i] = &bake.Image{Name: fmt.Sprintf("node-%02d.prod.example.org", i), Builder: builder}
		list[i].Provisioners = []bake.Provisioner{bake.ProvisionFunc{Name: "install", Do: func(ctx context.Context, _ bake.Machine) error {
			out := bake.RunFromContext(ctx).Lines(bake.Stdout)
			defer func() { _ = out.Close() }()
			_, _ = fmt.Fprint(out, "\x1b]0;title\a\x1b[2J\x1b[1;1Hhostile\x00\n", strings.Repeat("wide ", 1000), "\ntab\tand 中文 and é\n")
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-goOn:
			}
			if outcome == "failure" && i == 0 {
				return errors.New("nginx: [emerg] \x1b[2Jport in use")
			}
			return nil
		}}}
		list[i].Steps = []bake.Step{{Name: "reserve", At: bake.BeforeLaunch, Do: func(context.Context) error { return nil }, Undo: func(_ context.Context, end bake.Outcome) error {
			if end != bake.Succeeded {
				<-goOn
			}
			return nil
		}}}
	}
	return list
}

// A tmux is a server of tmux with a window in which a child runs.
type tmux struct {
	t            *testing.T
	program, dir string
	pipe         string
}

// startTmux runs TestTmuxChild on a terminal.
func startTmux(t *testing.T, columns, rows, n int, outcome string) *tmux {
	t.Helper()
	m := &tmux{t: t, program: testenv.Need(t, "tmux"), dir: t.TempDir()}
	m.pipe = filepath.Join(m.dir, "pipe")
	if out, err := exec.CommandContext(t.Context(), "mkfifo", m.pipe).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m.run("new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows), "env", "-u", "CI", "-u", "NO_COLOR", "TERM=xterm-256color", "LC_ALL=C.UTF-8",
		fmt.Sprintf("%s=%d %s %s", childVar, n, outcome, m.pipe), self, "-test.run=^TestTmuxChild$")
	t.Cleanup(func() {
		_ = exec.CommandContext(context.WithoutCancel(t.Context()), m.program, "-S", filepath.Join(m.dir, "s"), "kill-server").Run()
	})
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	out, err := exec.CommandContext(m.t.Context(), m.program, append([]string{"-S", filepath.Join(m.dir, "s"), "-f", os.DevNull}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// until waits until the terminal shows what is wanted, and returns the screen.
func (m *tmux) until(name, want string, shows func(screen string) bool) string {
	m.t.Helper()
	screen := ""
	for range 1200 {
		if screen = m.run("capture-pane", "-p"); shows(screen) {
			if dir := os.Getenv(captureVar); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(m.t.Name(), "/", "-")+"-"+name+".txt"), []byte(screen), 0o600); err != nil {
					m.t.Fatal(err)
				}
			}
			return screen
		}
		time.Sleep(50 * time.Millisecond) // another process draws
	}
	m.t.Fatalf("%s: the terminal does not show %s:\n%s", name, want, screen)
	return ""
}

// look waits until the terminal shows all of want, except texts after a "!", which it must
// not show, and returns the screen.
func (m *tmux) look(name string, want ...string) string {
	m.t.Helper()
	return m.until(name, fmt.Sprintf("%q", want), func(screen string) bool {
		return !slices.ContainsFunc(want, func(w string) bool {
			unwanted, not := strings.CutPrefix(w, "!")
			return strings.Contains(screen, unwanted) == not
		})
	})
}

// next lets the child go on.
func (m *tmux) next() {
	m.t.Helper()
	if err := os.WriteFile(m.pipe, nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// TestTmux bakes on real terminals, and interrupts it.
func TestTmux(t *testing.T) {
	testenv.Need(t, "tmux")
	for _, size := range [][2]int{{80, 24}, {150, 50}} {
		for _, n := range []int{1, 3, 40} {
			for _, outcome := range []string{"success", "failure", "cancel"} {
				t.Run(fmt.Sprintf("%dx%d %d %s", size[0], size[1], n, outcome), func(t *testing.T) {
					t.Parallel()
					m := startTmux(t, size[0], size[1], n, outcome)
					running := fmt.Sprintf("0 of %d ended, %d running", n, n)
					screen := m.look("running", running, "provision 1: install", "node-")
					if count := strings.Count(screen, " ended, "); count != 1 {
						t.Errorf("the terminal shows %d summaries, want 1:\n%s", count, screen)
					}
					if n == 1 {
						m.look("running", "│ ␛]0;title␇␛[2J␛[1;1Hhostile␀", "│ wide wide", "│ tab    and 中文 and é")
					}
					if title := m.run("display-message", "-p", "#{pane_title}"); strings.TrimSpace(title) == "title" {
						t.Error("the title of the terminal was set")
					}
					if outcome == "cancel" {
						m.run("send-keys", "C-c")
						m.look("cleaning-up", running, "cleaning up", "!provision 1: install")
					}
					m.next()
					want := []string{map[string]string{"success": "baked", "failure": "baked", "cancel": "canceled"}[outcome]}
					switch {
					case n > 1: // the numbers, and the failed one, which is the last of the table
						want = []string{map[string]string{
							"success": fmt.Sprintf("\n%d baked\n", n), "failure": fmt.Sprintf("\n%d baked, 1 failed\n", n-1), "cancel": fmt.Sprintf("\n%d canceled\n", n),
						}[outcome]}
						if outcome == "failure" {
							want = append(want, "node-00.prod.example.org  failed")
						}
					case outcome == "failure":
						want = []string{"✗ node-00.prod.example.org  failed", "│ provision 1: install: nginx: [emerg] ␛[2Jport in use"}
					}
					if n == 3 {
						want = append(want, "IMAGE", "RESULT")
					}
					screen = m.look("ended", want...)
					if n > 1 {
						screen = m.run("capture-pane", "-p", "-S", "-")
					}
					if ended := strings.Count(screen, " running, ") + strings.Count(screen, "━"); ended > 0 {
						t.Errorf("the drawing stays after Close:\n%s", screen)
					}
					for i := range n { // in the lines that scrolled away, and in the table
						times := 2
						if n == 1 {
							times = 1
						}
						if got := strings.Count(screen, fmt.Sprintf("node-%02d.prod.example.org", i)); got != times {
							t.Errorf("image %d is named %d times, want %d:\n%s", i, got, times, screen)
						}
					}
					m.next()
				})
			}
		}
	}
}

// TestTmuxResize resizes a real terminal, which wraps lines and moves rows to its history
// and back, while images are baked on it. It does so with rows that are empty as well: if
// the terminal is not full, parts of drawings may get into the history.
func TestTmuxResize(t *testing.T) {
	const images = 8
	m := startTmux(t, 80, 24, images, "full")
	m.look("running", "provision 1: install", "node-07")
	for _, size := range [][2]int{{50, 24}, {120, 24}, {120, 7}, {120, 40}, {60, 40}, {60, 12}, {80, 24}} {
		columns, rows := size[0], size[1]
		m.run("resize-window", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows))
		name := fmt.Sprintf("%dx%d", columns, rows)
		m.until(name, "one drawing of its size", func(screen string) bool {
			shown, widest := 0, 0
			for line := range strings.Lines(screen) {
				widest = max(widest, utf8.RuneCountInString(line)-1)
				if strings.HasPrefix(line, "node-0") {
					shown++
				}
			}
			if rows == 7 { // without output
				return shown == 4 && strings.Contains(screen, "\n… and 4 more\n")
			}
			return shown == images && (widest == columns-1 || rows == 12)
		})
		if all := m.run("capture-pane", "-p", "-S", "-"); strings.Count(all, " running, ") != 1 || strings.Count(all, "node-07") > 1 {
			t.Errorf("%s: the history contains drawings:\n%s", name, all)
		}
	}
	m.next()
	m.look("ended", "\n8 baked\n")
	if all := m.run("capture-pane", "-p", "-S", "-"); strings.Count(all, "✓ node-") != images || strings.Contains(all, " running, ") {
		t.Errorf("the terminal shows at the end:\n%s", all)
	}
	m.next()
}
