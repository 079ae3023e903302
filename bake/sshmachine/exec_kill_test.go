package sshmachine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// gone fails the test if a process still has the given text in its command
// line, as one that was killed a moment ago may.
func gone(t *testing.T, text string) {
	t.Helper()
	for tries := 0; ; tries++ {
		var left []string
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		must(t, err)
		for _, name := range lines {
			if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), text) {
				left = append(left, strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
		if len(left) == 0 {
			return
		}
		if tries == 20 {
			t.Errorf("still running: %q", left)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestCancelKills(t *testing.T) {
	testenv.Need(t, "sshd")
	m := real(t)
	for name, cmd := range map[string]bake.Cmd{
		"one":            {Line: "echo up; sleep 86421"},
		"args":           {Args: []string{"sh", "-c", "echo up; sleep 86421; true"}},
		"children":       {Line: "sleep 86421 & (setsid sleep 86421 &) ; echo up; sleep 86421; echo"},
		"ignores TERM":   {Line: "trap '' TERM HUP; echo up; while :; do sleep 86421; done"},
		"terminal":       {Line: "echo up; sleep 86421; echo", PTY: true},
		"with input":     {Line: "echo up; sleep 86421; echo", Stdin: readerFunc(func([]byte) (int, error) { select {} })},
		"as root":        {Line: "echo up; sleep 86421; echo", Sudo: os.Getuid() == 0},
		"an environment": {Line: "echo up; env -i sleep 86421; echo", Env: map[string]string{"A": "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if cmd.PTY {
				needsTerminals(t)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			cmd.Stdout = writerFunc(func(p []byte) (int, error) { cancel(why); return len(p), nil })
			if err := m.Run(ctx, &cmd); !errors.Is(err, why) {
				t.Errorf("%v, want the cause", err)
			}
			gone(t, "86421")
		})
	}
}
