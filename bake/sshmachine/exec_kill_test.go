package sshmachine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// checkNoProcess fails the test if after a minute a process has text in its command
// line.
func checkNoProcess(t *testing.T, text string) {
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
		if tries == 1200 {
			t.Errorf("still running: %q", left)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// someSeconds returns an argument for sleep that no other test uses.
func someSeconds() string { return fmt.Sprint(1_000_000 + time.Now().UnixNano()%1_000_000_000) }

func TestCancelKillsProcesses(t *testing.T) {
	testenv.Need(t, "sshd")
	m := sshdMachine(t)
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
				requirePTY(t)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cause := errors.New("enough")
			cmd.Stdout = writerFunc(func(p []byte) (int, error) { cancel(cause); return len(p), nil })
			if err := m.Run(ctx, &cmd); !errors.Is(err, cause) {
				t.Errorf("Run = %v, want the cause of the cancellation", err)
			}
			checkNoProcess(t, "86421")
		})
	}
}

// Processes that ignore TERM are killed also where it is hard to find them.
func TestCancelFindsProcesses(t *testing.T) {
	for name, grep := range map[string]string{
		"each search takes seconds": "sleep 3",
		// A process has no environment for a moment while it executes a program. Here the
		// first search misses all.
		"between programs": "[ -e /opt/work/searched ] || { : >/opt/work/searched; exit 1; }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := connect(t, sshdConfig(testenv.Guest(t, &testenv.GuestOptions{Setup: `install -d -o baker /opt/work
mv /usr/bin/grep /usr/bin/real-grep
printf '%s\n' '#!/bin/sh' '` + grep + `' 'exec real-grep "$@"' >/usr/bin/grep
chmod 755 /usr/bin/grep`})))
			seconds := someSeconds()
			ctx, cancel := context.WithCancel(t.Context())
			up := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
			err := m.Run(ctx, &bake.Cmd{Line: "trap '' TERM HUP; rm -f /opt/work/searched; echo up; while :; do sleep " + seconds + "; done", Stdout: up})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run = %v, want Canceled", err)
			}
			checkNoProcess(t, seconds)
		})
	}
}
