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

// A process has no environment for a moment while it executes a program, so one search may
// miss it. Here the first misses all.
func TestCancelBetweenPrograms(t *testing.T) {
	m := connect(t, sshdConfig(testenv.Guest(t, &testenv.GuestOptions{Setup: `install -d -o baker /opt/work
mv /usr/bin/grep /usr/bin/real-grep
printf '#!/bin/sh\n[ -e /opt/work/first ] || { : >/opt/work/first; exit 1; }\nexec real-grep "$@"\n' >/usr/bin/grep
chmod 755 /usr/bin/grep`})))
	ctx, cancel := context.WithCancel(t.Context())
	up := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	err := m.Run(ctx, &bake.Cmd{Line: "trap '' TERM HUP; rm -f /opt/work/first; echo up; while :; do sleep 86428; done", Stdout: up})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want Canceled", err)
	}
	checkNoProcess(t, "86428")
}

// On a slow machine, where each search for processes takes seconds, those that ignore TERM
// are killed as well.
func TestCancelOnSlowMachine(t *testing.T) {
	m := connect(t, sshdConfig(testenv.Guest(t, &testenv.GuestOptions{Setup: `mv /usr/bin/grep /usr/bin/real-grep
printf '#!/bin/sh\nsleep 3\nexec real-grep "$@"\n' >/usr/bin/grep
chmod 755 /usr/bin/grep`})))
	ctx, cancel := context.WithCancel(t.Context())
	up := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	err := m.Run(ctx, &bake.Cmd{Line: "trap '' TERM HUP; echo up; while :; do sleep 86427; done", Stdout: up})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want Canceled", err)
	}
	checkNoProcess(t, "86427")
}
