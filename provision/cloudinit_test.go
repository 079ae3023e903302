package provision_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision"
)

func TestWaitCloudInit(t *testing.T) {
	const ask = "if ! command -v cloud-init"
	usage := baketest.Reply{Status: 2, Stderr: "usage: cloud-init [-h] ...\ncloud-init: error: unrecognized arguments: --format json\n"}
	degraded := baketest.Reply{Status: 2, Stdout: `{"status": "done", "extended_status": "degraded done", "errors": [], "recoverable_errors": {"WARNING": ["no growpart"], "DEPRECATED": ["old key"]}}`}
	patched := degraded
	patched.Status = 0 // as on Ubuntu 22.04 and CentOS
	for name, test := range map[string]struct {
		json, long     baketest.Reply
		allow          bool
		messages, want string // substrings of messages and error
	}{
		"done":             {json: baketest.Reply{Stdout: "\n{\"status\": \"done\", \"errors\": [], \"extended_status\": \"done\"}\n"}},
		"absent":           {json: baketest.Reply{Stdout: `{"status": "absent"}`}, messages: "no cloud-init"},
		"disabled":         {json: baketest.Reply{Stdout: `{"status": "disabled", "errors": []}`}, messages: "cloud-init is disabled"},
		"error":            {json: baketest.Reply{Status: 1, Stdout: `{"status": "error", "errors": ["runcmd failed", "more"]}`}, want: "cloud-init ended with status \"error\"\n\truncmd failed\n\tmore"},
		"done with errors": {json: baketest.Reply{Stdout: `{"status": "done", "errors": ["lost"]}`}, want: "\"done\"\n\tlost"},
		"degraded":         {json: degraded, want: "degraded done: set WaitCloudInit.AllowDegraded to accept this\n\tDEPRECATED: old key\n\tWARNING: no growpart"},
		"degraded with 0":  {json: patched, want: "degraded done"},
		"allowed":          {json: degraded, allow: true, messages: "cloud-init ended degraded done\n\tDEPRECATED: old key"},
		"old":              {json: usage, long: baketest.Reply{Stdout: "....\nstatus: done\ntime: x\ndetail:\nDataSourceEc2Local\n"}},
		"old error":        {json: usage, long: baketest.Reply{Status: 1, Stdout: "status: error\ntime: x\ndetail:\n('scripts-user', 1)\n"}, want: "status \"error\"\n\ttime: x\ndetail:\n('scripts-user', 1)"},
		"silent":           {json: usage, long: baketest.Reply{}},
		"silent error":     {json: usage, long: baketest.Reply{Status: 1}, want: `status "error"`},
		"nonsense":         {json: baketest.Reply{Stdout: "{"}, want: "parse status: unexpected end"},
		"killed":           {json: baketest.Reply{Status: 137, Signal: "KILL"}, want: "killed by signal KILL"},
	} {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			m.OnPrefix(ask, test.json)
			m.On("cloud-init status --wait --long", test.long)
			messages, err := bakeMessages(t, m, provision.WaitCloudInit{AllowDegraded: test.allow})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Provision() = %v, want %q", err, test.want)
			}
			if got := strings.Join(messages, "|"); test.messages == "" && got != "" || !strings.Contains(got, test.messages) {
				t.Errorf("messages = %q, want %q", got, test.messages)
			}
		})
	}
}

// cloud-init has no status command.
func TestWaitCloudInitBootFinished(t *testing.T) {
	for result, want := range map[string]string{`{"v1": {"errors": []}}`: "", `{"v1": {"errors": ["broke"]}}`: "\tbroke", "{": "unexpected end"} {
		synctest.Test(t, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			usage := baketest.Reply{Status: 2}
			m.OnPrefix("if ! command -v cloud-init", usage)
			m.On("cloud-init status --wait --long", usage)
			m.OnPrefix("[ ! -e /var/lib/cloud", baketest.Reply{Times: 3})
			m.OnPrefix("[ ! -e /var/lib/cloud", baketest.Reply{Stdout: result})
			start := time.Now()
			err := provision.WaitCloudInit{}.Provision(t.Context(), m)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("Provision() = %v, want %q", err, want)
			}
			if took := time.Since(start); took != 6*time.Second {
				t.Errorf("Provision() took %v, want 6s", took)
			}
		})
	}
}

func TestWaitCloudInitRestart(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.OnPrefix("if ! command", baketest.Reply{Err: bake.ErrDisconnected, Times: 2})
	m.OnPrefix("if ! command", baketest.Reply{Stdout: `{"status": "done"}`})
	if err := (provision.WaitCloudInit{}).Provision(t.Context(), m); err != nil {
		t.Error(err)
	}
	m = baketest.NewMachine(nil)
	m.OnPrefix("if ! command", baketest.Reply{Err: bake.ErrDisconnected})
	if err := (provision.WaitCloudInit{}).Provision(t.Context(), m); !errors.Is(err, bake.ErrDisconnected) || len(m.Calls()) != 3 {
		t.Errorf("Provision() = %v after %d calls, want %v after 3", err, len(m.Calls()), bake.ErrDisconnected)
	}
}

func TestWaitCloudInitEmbedded(t *testing.T) {
	m, _ := embedded(t, sandbox.Options{UserData: []byte("#!/bin/sh\nexit 0\n")})
	run(t, m, provision.WaitCloudInit{})
	m, _ = embedded(t, sandbox.Options{UserData: []byte("#!/bin/sh\nexit 3\n")})
	if err := (provision.WaitCloudInit{}).Provision(t.Context(), m); err == nil || !strings.Contains(err.Error(), `status "error"`) {
		t.Errorf("Provision() = %v, want status error", err)
	}
	m, _ = embedded(t, sandbox.Options{Missing: []string{"cloud-init"}})
	run(t, m, provision.WaitCloudInit{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (provision.WaitCloudInit{}).Provision(ctx, m); !errors.Is(err, context.Canceled) {
		t.Errorf("Provision() = %v, want %v", err, context.Canceled)
	}
}
