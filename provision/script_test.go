package provision_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

func TestScriptUploadRunRemove(t *testing.T) {
	for _, sudo := range []bool{false, true} {
		t.Run(fmt.Sprintf("sudo=%v", sudo), func(t *testing.T) {
			m := baketest.NewMachine(nil)
			var at baketest.File
			m.OnScript("make install", baketest.Reply{Do: func(_ context.Context, cmd *bake.Cmd) (err error) {
				at, err = m.Stat(cmd.Args[2])
				return err
			}})
			script := provision.Script{
				Content: "cd /srv\nmake install\n", Args: []string{"a b", "$HOME"}, Dir: "/srv", Sudo: sudo,
				Env: map[string]string{"A": "1"}, Secrets: bake.Secrets(map[string]string{"B": "hidden"}),
			}
			run(t, m, script)

			user := map[bool]string{false: "ubuntu", true: "root"}[sudo]
			if at.Mode != 0o700 || at.Owner != user || string(at.Content) != "cd /srv\nmake install\n" {
				t.Errorf("uploaded script = %+v", at)
			}
			dir := filepath.ToSlash(filepath.Dir(at.Path))
			want := []baketest.Call{
				{Kind: baketest.RunCall, Args: []string{"mkdir", "-m", "0700", dir}, Command: "mkdir -m 0700 " + dir, Sudo: sudo},
				{Kind: baketest.PutCall, Path: at.Path, Content: string(at.Content), Mode: 0o700, Sudo: sudo},
				{
					Kind: baketest.RunCall, Args: []string{"/bin/sh", "-e", at.Path, "a b", "$HOME"},
					Command: "/bin/sh -e " + at.Path + " a b $HOME", Path: at.Path, Script: string(at.Content), Dir: "/srv",
					Env: map[string]string{"A": "1", "B": "hidden"}, Secrets: []string{"B"}, Sudo: sudo,
				},
				{Kind: baketest.RunCall, Args: []string{"rm", "-rf", dir}, Command: "rm -rf " + dir, Sudo: sudo},
			}
			if diff := cmp.Diff(want, m.Calls()); diff != "" {
				t.Error(diff)
			}
			if !strings.HasPrefix(dir, "/tmp/bakestone-") {
				t.Errorf("staging directory = %s, want /tmp/bakestone-*", dir)
			}
			nothingLeft(t, m)
		})
	}
}

func TestScriptStagingDirIsUnique(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	run(t, m, provision.Shell("true"))
	run(t, m, provision.Shell("true"))
	if calls := m.Calls(); calls[0].Command == calls[4].Command {
		t.Errorf("both runs use the same directory: %s", calls[0].Command)
	}
}

func TestScriptInterpreter(t *testing.T) {
	tests := map[string]struct {
		script provision.Script
		want   string // the command; SCRIPT is its path
	}{
		"inline":             {provision.Shell("true"), "/bin/sh -e SCRIPT"},
		"without a shebang":  {provision.Script{Content: "true"}, "/bin/sh -e SCRIPT"},
		"empty shebang":      {provision.Script{Content: "#!\ntrue"}, "/bin/sh -e SCRIPT"},
		"shebang":            {provision.Script{Content: "#!/bin/bash\ntrue"}, "/bin/bash SCRIPT"},
		"shebang of inline":  {provision.Shell("#! /usr/bin/env python3", "pass"), "/usr/bin/env python3 SCRIPT"},
		"one argument":       {provision.Script{Content: "#!/usr/bin/env -S perl -w\r\n"}, "/usr/bin/env|-S perl -w|SCRIPT"},
		"given":              {provision.Script{Content: "#!/bin/sh\n", Interpreter: "bash -eu"}, "bash -eu SCRIPT"},
		"byte order mark":    {provision.Script{Content: "\xef\xbb\xbf#!/bin/bash\n"}, "/bin/bash SCRIPT"},
		"program":            {provision.Script{Content: "\x7fELF\x00"}, "SCRIPT"},
		"program, but given": {provision.Script{Content: "\x00pyc", Interpreter: "python3"}, "python3 SCRIPT"},
		"self-extracting":    {provision.Script{Content: "#!/bin/sh\ntail\n\x00"}, "/bin/sh SCRIPT"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
			run(t, m, test.script)
			call := m.Calls()[2]
			if !strings.Contains(test.want, "|") {
				test.want = strings.ReplaceAll(test.want, " ", "|")
			}
			if got := strings.ReplaceAll(strings.Join(call.Args, "|"), call.Path, "SCRIPT"); got != test.want {
				t.Errorf("command = %s, want %s", got, test.want)
			}
		})
	}
}

func TestScriptSources(t *testing.T) {
	local := filepath.Join(t.TempDir(), "local.sh")
	if err := os.WriteFile(local, []byte("from\r\nhost\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{"scripts/in.sh": {Data: []byte("from fs")}}
	tests := map[string]struct {
		script     provision.Script
		text, base string
	}{
		"path":      {provision.Script{Path: local}, "from\nhost\n", "local.sh"},
		"keep":      {provision.Script{Path: local, KeepCRLF: true}, "from\r\nhost\r\n", "local.sh"},
		"in a FS":   {provision.Script{Path: "scripts/in.sh", FS: tree}, "from fs", "in.sh"},
		"content":   {provision.Script{Content: "a\r\nb"}, "a\nb", "script"},
		"binary":    {provision.Script{Content: "\x7fELF\x00\r\n"}, "\x7fELF\x00\r\n", "script"},
		"inline":    {provision.Shell("a", "b"), "a\nb\n", "script"},
		"elsewhere": {provision.Script{Content: "a", RemoteDir: "/home/ubuntu"}, "a", "script"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
			run(t, m, test.script)
			call := m.Calls()[2]
			if call.Script != test.text || !strings.HasSuffix(call.Path, "/"+test.base) {
				t.Errorf("script %s = %q, want %s with %q", call.Path, call.Script, test.base, test.text)
			}
			if parent := test.script.RemoteDir; parent != "" && !strings.HasPrefix(call.Path, parent+"/bakestone-") {
				t.Errorf("script path = %s, want it below %s", call.Path, parent)
			}
			nothingLeft(t, m)
		})
	}
}

func TestScriptExitCodes(t *testing.T) {
	tests := []struct {
		accepted []int
		status   int
		ok       bool
	}{
		{nil, 0, true}, {nil, 2, false}, {[]int{0, 2}, 2, true}, {[]int{0, 2}, 0, true},
		{[]int{0, 2}, 1, false}, {[]int{2}, 2, true}, {[]int{2}, 0, false},
	}
	for _, test := range tests {
		m := baketest.NewMachine(nil)
		m.OnScript("puppet", baketest.Reply{Status: test.status, Stderr: "why\n"})
		err := provision.Script{Content: "puppet agent --test", ExitCodes: test.accepted}.Provision(t.Context(), m)
		if (err == nil) != test.ok {
			t.Errorf("status %d, ExitCodes %v: Provision() = %v", test.status, test.accepted, err)
		}
		var exit *bake.ExitError
		if test.status != 0 && !test.ok && (!errors.As(err, &exit) || exit.Status != test.status || exit.Output[0] != "why") {
			t.Errorf("status %d, ExitCodes %v: Provision() = %v, want an *ExitError with the status", test.status, test.accepted, err)
		}
		nothingLeft(t, m)
	}
	m := baketest.NewMachine(nil)
	m.OnScript("puppet", baketest.Reply{Signal: "KILL", Status: 137})
	if err := (provision.Script{Content: "puppet", ExitCodes: []int{137}}).Provision(t.Context(), m); err == nil {
		t.Error("Provision() = nil for a script killed by a signal")
	}
}

func TestScriptExpectDisconnect(t *testing.T) {
	for _, expected := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			m.OnScript("network", baketest.Reply{Err: fmt.Errorf("read: %w", bake.ErrDisconnected)})
			m.OnPrefix("rm -rf ", baketest.Reply{Err: bake.ErrDisconnected, Times: 4})
			err := provision.Script{Content: "network restart", ExpectDisconnect: expected}.Provision(t.Context(), m)
			if expected && err != nil || !expected && !errors.Is(err, bake.ErrDisconnected) {
				t.Errorf("ExpectDisconnect %v: Provision() = %v", expected, err)
			}
			nothingLeft(t, m)
		})
	}
}

func TestScriptConnectionLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := baketest.NewMachine(nil)
		m.OnMatch(anything(), baketest.Reply{Err: bake.ErrDisconnected})
		err := provision.Shell("true").Provision(t.Context(), m)
		if !errors.Is(err, bake.ErrDisconnected) || strings.Contains(err.Error(), "remove") {
			t.Errorf("Provision() = %v, want one disconnection", err)
		}
		m = baketest.NewMachine(nil)
		m.OnScript("reboot", baketest.Reply{Err: bake.ErrDisconnected})
		m.OnPrefix("rm -rf ", baketest.Reply{Do: func(ctx context.Context, _ *bake.Cmd) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}})
		start := time.Now()
		err = provision.Script{Content: "reboot", ExpectDisconnect: true}.Provision(t.Context(), m)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Minute {
			t.Errorf("after %v Provision() = %v, want a timeout after 10m", time.Since(start), err)
		}
	})
}

func TestScriptCanceled(t *testing.T) {
	cause := errors.New("canceled by test")
	ctx, cancel := context.WithCancelCause(t.Context())
	m := baketest.NewMachine(nil)
	m.OnScript("sleep", baketest.Reply{Do: func(ctx context.Context, _ *bake.Cmd) error {
		cancel(cause)
		<-ctx.Done()
		return context.Cause(ctx)
	}})
	if err := provision.Shell("sleep 1000").Provision(ctx, m); !errors.Is(err, cause) {
		t.Errorf("Provision() = %v, want %v", err, cause)
	}
	nothingLeft(t, m)
	calls := len(m.Calls())
	if err := provision.Shell("sleep 1000").Provision(ctx, m); !errors.Is(err, cause) || len(m.Calls()) != calls {
		t.Errorf("with a canceled context Provision() made %d calls and returned %v", len(m.Calls())-calls, err)
	}
}

func TestScriptCanceledExpectDisconnect(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := baketest.NewMachine(nil)
	m.OnScript("network", baketest.Reply{Do: func(context.Context, *bake.Cmd) error {
		cancel()
		return bake.ErrDisconnected
	}})
	if err := (provision.Script{Content: "network", ExpectDisconnect: true}).Provision(ctx, m); err == nil {
		t.Error("Provision() = nil for a canceled script")
	}
	nothingLeft(t, m)
}

func TestScriptUploadFails(t *testing.T) {
	full := errors.New("disk full")
	m := baketest.NewMachine(nil)
	m.FailPut("/tmp/**", full)
	if err := provision.Shell("true").Provision(t.Context(), m); !errors.Is(err, full) {
		t.Errorf("Provision() = %v, want %v", err, full)
	}
	nothingLeft(t, m)

	err := provision.Script{Content: "true", RemoteDir: "/opt/missing"}.Provision(t.Context(), m)
	if _, ok := errors.AsType[*bake.ExitError](err); !ok {
		t.Errorf("Provision() without RemoteDir on the machine = %v, want an *ExitError", err)
	}
}

func TestScriptRemoveFails(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.OnPrefix("rm ", baketest.Reply{Status: 1, Stderr: "busy\n"})
	m.OnScript("ok", baketest.Reply{})
	m.OnScript("bad", baketest.Reply{Status: 7})
	if err := provision.Shell("ok").Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("Provision() = %v, want the one of rm", err)
	}
	err := provision.Shell("bad").Provision(t.Context(), m)
	if err == nil || !strings.Contains(err.Error(), "busy") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("Provision() = %v, want both", err)
	}
}

func TestProgramOnNoexec(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.OnScript("ELF", baketest.Reply{Status: 126})
	err := provision.Script{Content: "\x7fELF\x00"}.Provision(t.Context(), m)
	var exit *bake.ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "RemoteDir") {
		t.Errorf("Provision() = %v, want a hint", err)
	}
}

func TestScriptValidate(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]struct {
		script provision.Script
		want   []string
	}{
		"nothing":       {provision.Script{}, []string{"Script: exactly one"}},
		"two":           {provision.Script{Path: "x", Content: "y"}, []string{"Script: exactly one"}},
		"missing":       {provision.Script{Path: dir + "/missing"}, []string{"Script.Path: "}},
		"directory":     {provision.Script{Path: dir}, []string{"Script.Path: " + dir + " is a directory"}},
		"not in the FS": {provision.Script{Path: "x.sh", FS: fstest.MapFS{}}, []string{"Script.Path: "}},
		"FS alone":      {provision.Script{Content: "x", FS: fstest.MapFS{}}, []string{"Script.FS: "}},
		"blank":         {provision.Shell("", " "), []string{"Script.Content: contains no commands"}},
		"UTF-16":        {provision.Script{Content: "\xff\xfee\x00c\x00h\x00o\x00"}, []string{"Script.Content: script is in UTF-16"}},
		"late #!":       {provision.Script{Content: "\n#!/usr/bin/python3\nprint()\n"}, []string{"Script.Content: script has its #! not at its very beginning"}},
		"all of it": {
			provision.Script{
				Content: "x", Interpreter: " ", Dir: "srv", RemoteDir: "x", ExitCodes: []int{256}, Args: []string{"\x00"},
				Env:     map[string]string{"A-B": "", "C": "\x00", "D": ""},
				Secrets: bake.Secrets(map[string]string{"1": "", "D": ""}),
			},
			[]string{
				"Script.Dir: ", "Script.RemoteDir: ", `Script.Env: invalid environment variable name "A-B"`, "Script.Env: the value of C", `Script.Secrets: invalid environment variable name "1"`,
				"Script.Secrets: D is also in Env", "Script.ExitCodes: invalid exit status 256", "Script.Interpreter: ", "Script.Args: ",
			},
		},
		"good": {provision.Script{
			Content: "x", Interpreter: "bash", Dir: "/srv", RemoteDir: "/opt", ExitCodes: []int{0, 255}, Env: map[string]string{"A": ""},
		}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { invalid(t, test.script, test.want) })
	}
}

// TestScriptUnreadable runs files that no interpreter runs as intended.
func TestScriptUnreadable(t *testing.T) {
	for text, want := range map[string]string{
		"\xfe\xff\x00#\x00!": "UTF-16", "#\x00!\x00/\x00": "UTF-16", " #!/bin/sh\n": "#!", "\xef\xbb\xbf\r\n#!/bin/sh\r\n": "#!",
	} {
		m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
		s := provision.Script{Path: "in.sh", FS: fstest.MapFS{"in.sh": {Data: []byte(text)}}}
		if err := s.Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Provision of %q = %v, want an error with %q", text, err, want)
		}
		if calls := m.Calls(); len(calls) > 0 {
			t.Errorf("Provision of %q called the machine: %v", text, calls)
		}
	}
}

func TestScriptValidateWrapsCause(t *testing.T) {
	err := provision.Script{Path: t.TempDir() + "/missing"}.Validate()
	var field *bake.FieldError
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &field) || field.Field != "Script.Path" {
		t.Errorf("Provision() = %v, want a *bake.FieldError of Script.Path that wraps %v", err, fs.ErrNotExist)
	}
}

func TestScripts(t *testing.T) {
	tree := fstest.MapFS{"1.sh": {Data: []byte("one")}, "2.sh": {Data: []byte("two")}, "3.sh": {Data: []byte("three")}}
	all := provision.Scripts(provision.Script{FS: tree, Sudo: true}, "1.sh", "2.sh", "3.sh")
	m := baketest.NewMachine(nil)
	m.OnScript("one", baketest.Reply{})
	m.OnScript("two", baketest.Reply{Status: 4})
	err := all.Provision(t.Context(), m)
	if err == nil || !strings.HasPrefix(err.Error(), "script 2.sh (2 of 3): exit status 4") {
		t.Errorf("Provision() = %v, want exit status 4 of script 2.sh", err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, m.Commands()); diff != "" {
		t.Error(diff)
	}
	if want := "script 1.sh, script 2.sh, script 3.sh"; all.String() != want {
		t.Errorf("String() = %q, want %q", all, want)
	}
	nothingLeft(t, m)
}
