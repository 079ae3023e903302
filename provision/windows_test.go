package provision_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

// A payload is the standard input of PowerShell.
type payload struct {
	Code, Text, Dir, ID, Command, Input, User, Password string
	Batch                                               bool
	Args                                                []string
	Env                                                 map[string]string
}

// does returns a name for the code.
func (p payload) does() string {
	switch {
	case strings.Contains(p.Code, "Register-ScheduledTask"):
		return "task"
	case strings.Contains(p.Code, "Unregister-ScheduledTask"):
		return "end"
	case strings.Contains(p.Code, "shutdown.exe"):
		return "reboot"
	case strings.Contains(p.Code, "LastBootUpTime"):
		return "uptime"
	}
	return "run"
}

func decode(t *testing.T, input string) payload {
	t.Helper()
	var p payload
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(input))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		t.Errorf("input = %q: %v", input, err)
	}
	return p
}

// windows returns a fake Windows machine, which decodes the input of PowerShell and
// passes it to answer, and a func that returns all inputs.
func windows(t *testing.T, answer func(context.Context, payload, *bake.Cmd) error) (m *baketest.Machine, runs func() []payload) {
	t.Helper()
	var mu sync.Mutex
	var all []payload
	m = baketest.NewMachine(nil)
	m.OnPrefix("powershell.exe ", baketest.Reply{Do: func(ctx context.Context, cmd *bake.Cmd) error {
		input, err := io.ReadAll(cmd.Stdin)
		if err != nil || !cmd.Raw {
			t.Errorf("command: Raw = %v, reading the input: %v", cmd.Raw, err)
		}
		p := decode(t, string(input))
		mu.Lock()
		all = append(all, p)
		mu.Unlock()
		return answer(ctx, p, cmd)
	}})
	return m, func() []payload {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func exits(status int) func(context.Context, payload, *bake.Cmd) error {
	return func(_ context.Context, _ payload, cmd *bake.Cmd) error {
		if status == 0 {
			return nil
		}
		return &bake.ExitError{Command: cmd.String(), Status: status, Output: []string{"why"}}
	}
}

func TestWindowsScript(t *testing.T) {
	scripts := fstest.MapFS{"Setup.CMD": {Data: []byte("@echo off\ncall :end\n:end\n")}}
	for name, test := range map[string]struct {
		script provision.WindowsScript
		want   payload
	}{
		"lines":  {provision.PowerShell("Write-Output 'ü'", "exit 0"), payload{Text: "Write-Output 'ü'\nexit 0\n"}},
		"batch":  {provision.Batch("ver", "echo on"), payload{Text: "ver\r\necho on\r\n", Batch: true}},
		"a file": {provision.WindowsScript{Path: "Setup.CMD", FS: scripts}, payload{Text: "@echo off\r\ncall :end\r\n:end\r\n", Batch: true}},
		"all": {
			provision.WindowsScript{Content: "x", Args: []string{"a b", `"`}, Dir: `C:\x`, Env: map[string]string{"A": "1"}, Secrets: bake.Secrets(map[string]string{"TOKEN": "hidden-value"})},
			payload{Text: "x", Args: []string{"a b", `"`}, Dir: `C:\x`, Env: map[string]string{"A": "1", "TOKEN": "hidden-value"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, runs := windows(t, exits(0))
			run(t, m, test.script)
			got := runs()
			if len(got) != 1 || got[0].does() != "run" {
				t.Fatalf("runs = %+v", got)
			}
			got[0].Code = ""
			if diff := cmp.Diff(test.want, got[0]); diff != "" {
				t.Errorf("input (-want +got):\n%s", diff)
			}
			call := m.Calls()[0]
			code := encodedCommand(t, call.Command)
			if strings.Contains(call.Command+code, "hidden-value") || len(call.Env) > 0 || len(call.Command) > 8000 {
				t.Errorf("command line of %d characters contains a secret or is too long: %s", len(call.Command), code)
			}
			if !strings.Contains(code, "[Console]::In.ReadToEnd()") {
				t.Errorf("code does not read its input: %s", code)
			}
		})
	}
}

// encodedCommand decodes the code in a command line of powershell.exe, which is
// base64 of UTF-16, little-endian.
func encodedCommand(t *testing.T, line string) string {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(line[strings.LastIndexByte(line, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 0; i+1 < len(data); i += 2 {
		units = append(units, uint16(data[i])|uint16(data[i+1])<<8)
	}
	return string(utf16.Decode(units))
}

func TestWindowsScriptFails(t *testing.T) {
	script := provision.PowerShell("msiexec /i x")
	for name, test := range map[string]struct {
		codes  []int
		status int
		fails  bool
	}{"failure": {nil, 1, true}, "restart requested": {[]int{0, 3010}, 3010, false}, "restart not expected": {nil, 3010, true}, "success not expected": {[]int{1}, 0, true}} {
		m, _ := windows(t, exits(test.status))
		script.ExitCodes = test.codes
		err := script.Provision(t.Context(), m)
		if (err != nil) != test.fails {
			t.Errorf("%s: Provision() = %v", name, err)
		}
		if exit, ok := errors.AsType[*bake.ExitError](err); ok && exit.Command != "powershell: msiexec /i x" {
			t.Errorf("%s: command of the error = %q", name, exit.Command)
		}
	}
}

func TestWindowsScriptElevated(t *testing.T) {
	script := provision.WindowsScript{
		Content: "whoami", Secrets: bake.Secrets(map[string]string{"TOKEN": "hidden-value"}), Elevated: &provision.Elevation{User: "Administrator", Password: bake.NewSecret("the-password")},
	}
	m, runs := windows(t, exits(7))
	err := script.Provision(t.Context(), m)
	exit, ok := errors.AsType[*bake.ExitError](err)
	if got := runs(); !ok || exit.Status != 7 || len(got) != 1 || got[0].does() != "task" || got[0].User != "Administrator" || got[0].Password != "the-password" || len(got[0].ID) < 20 {
		t.Fatalf("runs = %+v: %v", got, err)
	}
	outer := runs()[0]
	inner := decode(t, outer.Input)
	if inner.does() != "run" || inner.Text != "whoami" || inner.Env["TOKEN"] != "hidden-value" || !strings.HasPrefix(outer.Command, "powershell.exe -NoProfile ") {
		t.Errorf("task runs %q with %+v", outer.Command, inner)
	}
	if strings.Contains(outer.Command+outer.Text+outer.Code, "hidden") || len(outer.Env) > 0 {
		t.Errorf("a secret is outside of the task's input: %+v", outer)
	}
	m, runs = windows(t, exits(0))
	run(t, m, provision.PowerShell("whoami").AsSystem())
	if got := runs(); len(got) != 1 || got[0].does() != "task" || got[0].User != "" {
		t.Errorf("runs = %+v", got)
	}
}

// Without clean-up the task would continue.
func TestWindowsTaskCanceled(t *testing.T) {
	for name, endErr := range map[string]error{"stopped": nil, "cannot be stopped": errBroken} {
		t.Run(name, func(t *testing.T) {
			cause := errors.New("canceled by test")
			ctx, cancel := context.WithCancelCause(t.Context())
			m, runs := windows(t, func(ctx context.Context, p payload, _ *bake.Cmd) error {
				if p.does() == "end" {
					return errors.Join(endErr, ctx.Err())
				}
				cancel(cause)
				return context.Cause(ctx)
			})
			err := provision.PowerShell("x").AsSystem().Provision(ctx, m)
			if !errors.Is(err, cause) || errors.Is(err, errBroken) != (endErr != nil) {
				t.Errorf("Provision() = %v, want %v and %v", err, cause, endErr)
			}
			if got := runs(); len(got) != 2 || got[1].does() != "end" || got[1].ID != got[0].ID {
				t.Errorf("runs = %+v", got)
			}
		})
	}
}

// Secrets in the output are masked.
func TestWindowsMasksSecrets(t *testing.T) {
	script := provision.WindowsScript{Content: "x", Secrets: bake.Secrets(map[string]string{"TOKEN": "hidden-value"}), Elevated: &provision.Elevation{User: "A", Password: bake.NewSecret("the-password")}}
	m, _ := windows(t, exits(0))
	messages, err := bakeMessages(t, m, provision.Sequence{script, sayText("hidden-value the-password")})
	if err != nil || len(messages) != 1 || messages[0] != "[redacted] [redacted]" {
		t.Errorf("messages = %q (error %v), want masked secrets", messages, err)
	}
}

func TestWindowsReboot(t *testing.T) {
	minutes := func(n int) string { return fmt.Sprintf("up %d\r\n", (time.Duration(n) * time.Minute).Milliseconds()) }
	for name, test := range map[string]struct {
		up      []string // replies; "" means no connection
		reboot  error
		timeout time.Duration
		took    time.Duration
		want    string
	}{
		"comes back":      {[]string{minutes(60), minutes(60), "", "", minutes(0)}, bake.ErrDisconnected, 0, 15 * time.Second, ""},
		"young machine":   {[]string{"up 8000\r\n", "", "up 3000\r\n"}, nil, 0, 5 * time.Second, ""},
		"does not go":     {[]string{minutes(60)}, nil, time.Minute, time.Minute, "machine did not return within 1m0s: context deadline exceeded"},
		"does not return": {[]string{minutes(60), ""}, nil, time.Minute, time.Minute, "did not return within 1m0s: context deadline exceeded\nconnection to the machine was lost"},
		"refused":         {[]string{minutes(60)}, &bake.ExitError{Status: 5}, 0, 0, "reboot: exit status 5"},
		"not Windows":     {[]string{"what?"}, nil, 0, 0, "parse uptime"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				m, _ := windows(t, func(_ context.Context, p payload, cmd *bake.Cmd) error {
					if p.does() == "reboot" {
						return test.reboot
					}
					up := test.up[min(asked, len(test.up)-1)]
					if asked++; up == "" {
						return bake.ErrDisconnected
					}
					if len(test.up) == 1 && asked > 1 { // the uptime of a machine that stays up grows
						up = fmt.Sprintf("up %d\r\n", (time.Hour + time.Duration(asked-1)*5*time.Second).Milliseconds())
					}
					_, err := io.WriteString(cmd.Stdout, up)
					return err
				})
				start := time.Now()
				err := provision.WindowsReboot{Timeout: test.timeout}.Provision(t.Context(), m)
				if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("Provision() = %v, want %q", err, test.want)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("Provision() took %v, want %v", took, test.took)
				}
			})
		})
	}
	invalid(t, provision.WindowsReboot{Timeout: -1}, []string{"WindowsReboot.Timeout"})
}

func TestWindowsScriptValidate(t *testing.T) {
	invalid(t, provision.WindowsScript{}, []string{"WindowsScript: exactly one of"})
	invalid(t, provision.WindowsScript{
		Path: "missing.ps1", FS: fstest.MapFS{}, Env: map[string]string{"A-B": "1"}, ExitCodes: []int{-1, 3010}, Elevated: &provision.Elevation{User: "x"},
	}, []string{"WindowsScript.Path", "WindowsScript.Env", "WindowsScript.Elevated", "WindowsScript.ExitCodes"})
	invalid(t, provision.WindowsScript{Content: "echo ü", Batch: true, Args: []string{"x"}}, []string{"WindowsScript.Args", "ASCII"})
}
