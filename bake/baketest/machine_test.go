package baketest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

func Example() {
	installNginx := bake.ProvisionFunc{Do: func(ctx context.Context, m bake.Machine) error {
		if err := m.Run(ctx, &bake.Cmd{Line: "apt-get install -y nginx", Sudo: true}); err != nil {
			return err
		}
		return m.Put(ctx, &bake.Upload{Content: strings.NewReader("worker_processes 4;\n"), Dest: "/etc/nginx/nginx.conf", Sudo: true})
	}}

	m := baketest.NewMachine(nil)
	m.OnPrefix("apt-get ", baketest.Reply{})
	fmt.Println(installNginx.Provision(context.Background(), m))
	for _, call := range m.Calls() {
		fmt.Println(call)
	}
	conf, _ := m.ReadFile("/etc/nginx/nginx.conf")
	fmt.Print(string(conf))
	// Output:
	// <nil>
	// sudo run apt-get install -y nginx
	// sudo put /etc/nginx/nginx.conf
	// worker_processes 4;
}

func TestRunRecordsCall(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	err := m.Run(t.Context(), &bake.Cmd{
		Args: []string{"tee", "a b"}, Dir: "/srv", Sudo: true, PTY: true, Stdin: strings.NewReader("in"),
		Env: map[string]string{"A": "1"}, Secrets: bake.Secrets(map[string]string{"B": "hidden"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []baketest.Call{{
		Kind: baketest.RunCall, Command: "tee a b", Args: []string{"tee", "a b"}, Dir: "/srv", Sudo: true, PTY: true,
		Stdin: "in", Env: map[string]string{"A": "1", "B": "hidden"}, Secrets: []string{"B"},
	}}
	if diff := cmp.Diff(want, m.Calls()); diff != "" {
		t.Error(diff)
	}
}

func TestRunUnpreparedCommand(t *testing.T) {
	m := baketest.NewMachine(nil)
	err := m.Run(t.Context(), bake.Sh("make world"))
	if err == nil || !strings.Contains(err.Error(), `"make world"`) {
		t.Errorf("Run = %v, want an error that names the command", err)
	}
	if got := m.Calls()[0].Err; !errors.Is(got, err) {
		t.Errorf("Calls()[0].Err = %v, want %v", got, err)
	}
}

func TestReplies(t *testing.T) {
	broken := errors.New("broken")
	tests := map[string]struct {
		prepare func(m *baketest.Machine)
		run     string
		stdout  string
		err     string
	}{
		"exact":     {func(m *baketest.Machine) { m.On("ls", baketest.Reply{Stdout: "a\n"}) }, "ls", "a\n", ""},
		"not exact": {func(m *baketest.Machine) { m.On("ls", baketest.Reply{}) }, "ls -l", "", "no reply"},
		"prefix":    {func(m *baketest.Machine) { m.OnPrefix("ls", baketest.Reply{Stdout: "b\n"}) }, "ls -l", "b\n", ""},
		"pattern": {func(m *baketest.Machine) {
			m.OnMatch(regexp.MustCompile(`l$`), baketest.Reply{Stdout: "c\n"})
		}, "ls -l", "c\n", ""},
		"first wins": {func(m *baketest.Machine) {
			m.On("ls", baketest.Reply{Stdout: "1"})
			m.On("ls", baketest.Reply{Stdout: "2"})
		}, "ls", "1", ""},
		"status": {func(m *baketest.Machine) {
			m.On("ls", baketest.Reply{Stdout: "out\n", Stderr: "bad\n", Status: 2})
		}, "ls", "out\n", "exit status 2: ls\n\tout\n\tbad"},
		"signal": {func(m *baketest.Machine) { m.On("ls", baketest.Reply{Signal: "KILL"}) }, "ls", "", "killed by signal KILL: ls"},
		"error":  {func(m *baketest.Machine) { m.On("ls", baketest.Reply{Stdout: "x", Err: broken}) }, "ls", "x", "broken"},
		"func": {func(m *baketest.Machine) {
			m.On("ls", baketest.Reply{Do: func(_ context.Context, cmd *bake.Cmd) error {
				_, err := fmt.Fprintf(cmd.Stdout, "from %s\n", cmd.Line)
				return err
			}})
		}, "ls", "from ls\n", ""},
		"func fails": {func(m *baketest.Machine) {
			m.On("ls", baketest.Reply{Do: func(context.Context, *bake.Cmd) error { return broken }})
		}, "ls", "", "broken"},
		"script only": {func(m *baketest.Machine) { m.OnScript("ls", baketest.Reply{}) }, "ls", "", "no reply"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			test.prepare(m)
			var stdout bytes.Buffer
			err := m.Run(t.Context(), &bake.Cmd{Line: test.run, Stdout: &stdout})
			if got := fmt.Sprint(err); test.err == "" && err != nil || !strings.Contains(got, test.err) {
				t.Errorf("Run = %v, want %q", err, test.err)
			}
			if got := stdout.String(); got != test.stdout {
				t.Errorf("Run: output %q, want %q", got, test.stdout)
			}
		})
	}
}

func TestReplyTimes(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.On("try", baketest.Reply{Status: 1, Times: 2})
	m.On("try", baketest.Reply{})
	for i, want := range []bool{false, false, true, true} {
		if got := m.Run(t.Context(), bake.Sh("try")) == nil; got != want {
			t.Errorf("Run %d succeeded: %v, want %v", i+1, got, want)
		}
	}
}

func TestScriptIdentifiedByContent(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.OnScript("install", baketest.Reply{Stdout: "done\n"})
	put(t, m, &bake.Upload{Content: strings.NewReader("#!/bin/sh\ninstall it\n"), Dest: "/tmp/x/run.sh", Mode: 0o700})
	out, err := bake.Output(t.Context(), m, bake.Command("/bin/sh", "-e", "/tmp/x/run.sh", "arg"))
	if err != nil || out != "done" {
		t.Fatalf("Output = %q, %v; want \"done\"", out, err)
	}
	if diff := cmp.Diff([]string{"#!/bin/sh\ninstall it"}, m.Commands()); diff != "" {
		t.Error(diff)
	}
	call := m.Calls()[1]
	if call.Script != "#!/bin/sh\ninstall it\n" || call.Path != "/tmp/x/run.sh" || call.Command != "/bin/sh -e /tmp/x/run.sh arg" {
		t.Errorf("Calls()[1] = %+v", call)
	}
}

func TestContextCause(t *testing.T) {
	cause := errors.New("had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	m := baketest.NewMachine(nil)
	m.On("sleep", baketest.Reply{Do: func(ctx context.Context, _ *bake.Cmd) error {
		cancel(cause)
		<-ctx.Done()
		return nil
	}})
	if err := m.Run(ctx, bake.Sh("sleep")); !errors.Is(err, cause) {
		t.Errorf("Run = %v, want the cause", err)
	}
	calls := map[string]func() error{
		"Run":    func() error { return m.Run(ctx, bake.Sh("sleep")) },
		"Put":    func() error { return m.Put(ctx, &bake.Upload{Content: strings.NewReader(""), Dest: "/tmp/a"}) },
		"Get":    func() error { return m.Get(ctx, &bake.Download{Content: &bytes.Buffer{}, Source: "/tmp/a"}) },
		"Reboot": func() error { return m.Reboot(ctx, nil) },
		"Facts":  func() error { _, err := m.Facts(ctx); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, cause) {
			t.Errorf("%s = %v, want the cause", name, err)
		}
	}
	if got := len(m.Calls()); got != 1 {
		t.Errorf("%d recorded calls, want 1", got)
	}
}

func TestClose(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), bake.Sh("ls")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run after Close = %v, want %v", err, net.ErrClosed)
	}
	m.Open()
	if err := m.Run(t.Context(), bake.Sh("ls")); err != nil {
		t.Error(err)
	}
}

func TestInvalidArguments(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	for name, err := range map[string]error{
		"Run":    m.Run(t.Context(), &bake.Cmd{}),
		"Put":    m.Put(t.Context(), &bake.Upload{Dest: "etc", Content: strings.NewReader("")}),
		"Get":    m.Get(t.Context(), &bake.Download{Source: "/etc"}),
		"Reboot": m.Reboot(t.Context(), &bake.Cmd{}),
	} {
		if _, ok := errors.AsType[*bake.FieldError](err); !ok {
			t.Errorf("%s = %v, want a *bake.FieldError", name, err)
		}
	}
}

func TestReboot(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.On("broken", baketest.Reply{Status: 1})
	m.On("reboot", baketest.Reply{Err: bake.ErrDisconnected})
	for _, test := range []struct {
		cmd  *bake.Cmd
		ok   bool
		boot string
	}{
		{nil, true, "boot-2"}, {bake.Sh("shutdown -r now"), true, "boot-3"}, {bake.Sh("broken"), false, "boot-3"},
	} {
		if err := m.Reboot(t.Context(), test.cmd); (err == nil) != test.ok {
			t.Errorf("Reboot(%v) = %v", test.cmd, err)
		}
		facts, err := m.Facts(t.Context())
		if err != nil || facts.BootID != test.boot {
			t.Errorf("after Reboot(%v): boot id %s, want %s; error %v", test.cmd, facts.BootID, test.boot, err)
		}
	}
}

func TestFactsDefaults(t *testing.T) {
	for user, want := range map[string]bake.Facts{
		"":     {User: "ubuntu", UID: 1000, Home: "/home/ubuntu"},
		"root": {User: "root", Home: "/root"},
	} {
		m := baketest.NewMachine(&baketest.MachineOptions{Facts: bake.Facts{User: user, Arch: "aarch64"}})
		want.OS, want.Distro, want.Version, want.Arch = "linux", "ubuntu", "24.04", "aarch64"
		want.Kernel, want.Hostname, want.BootID = "6.8.0", "machine", "boot-1"
		got, err := m.Facts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestClone(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.On("ls", baketest.Reply{})
	put(t, m, &bake.Upload{Content: strings.NewReader("old"), Dest: "/tmp/f"})
	clone := m.Clone()
	put(t, m, &bake.Upload{Content: strings.NewReader("new"), Dest: "/tmp/f"})
	if got, err := clone.ReadFile("/tmp/f"); err != nil || string(got) != "old" {
		t.Errorf("clone: ReadFile = %q, %v; want \"old\"", got, err)
	}
	if err := clone.Run(t.Context(), bake.Sh("ls")); err == nil {
		t.Error("clone: Run with a reply of the original = nil, want an error")
	}
	if got := len(clone.Calls()); got != 1 {
		t.Errorf("clone: %d calls, want 1", got)
	}
	if facts, err := clone.Facts(t.Context()); err != nil || facts.BootID == "boot-1" {
		t.Errorf("clone: boot id %q, error %v; want a new id", facts.BootID, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := m.Run(t.Context(), bake.Sh("true")); err != nil {
				t.Error(err)
			}
			put(t, m, &bake.Upload{Content: strings.NewReader("x"), Dest: fmt.Sprintf("/tmp/%d", i)})
			if err := m.Reboot(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if calls, files := len(m.Calls()), len(m.Files()); calls != 60 || files != 20 {
		t.Errorf("%d calls and %d files, want 60 and 20", calls, files)
	}
}

func put(t *testing.T, m *baketest.Machine, up *bake.Upload) {
	t.Helper()
	if err := m.Put(t.Context(), up); err != nil {
		t.Error(err)
	}
}
