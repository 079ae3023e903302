//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/signals"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// childArgs has the arguments of the program, if this process is to be it.
const childArgs = "BAKESTONE_TEST_SERVICE"

func TestMain(m *testing.M) {
	args := os.Getenv(childArgs)
	if args == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signals.Context(context.Background(), &signals.Options{Cause: cause})
	err := run(ctx, strings.Split(args, "\n"), os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A site is what the processes of a service share.
type site struct {
	t      *testing.T
	cloud  *ec2test.Server
	store  string
	port   string // of the machines
	tokens string
}

func newSite(t *testing.T, store string) *site {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("machines have separate addresses on Linux only")
	}
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	number, err := strconv.Atoi(port)
	if err = errors.Join(err, free.Close()); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, cloud: ec2test.New(&ec2test.Options{Listen: true, Port: number}), store: store, port: port}
	t.Cleanup(s.cloud.Close)
	s.tokens = filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(s.tokens, []byte("alice "+aliceToken+"\nbob "+bobToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// A child is a process of the service.
type child struct {
	process
	cmd *exec.Cmd
}

// start starts a process that is killed at the end of the test.
func (s *site) start() *child {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	args := []string{"-address", "127.0.0.1:0", "-tokens", s.tokens, "-store", s.store, "-ec2", s.cloud.URL(), "-machine-port", s.port, "-lease", "2s"}
	c := &child{process: process{t: s.t, logs: &logs{}}, cmd: exec.CommandContext(context.WithoutCancel(s.t.Context()), self)}
	c.cmd.Env = append(os.Environ(), childArgs+"="+strings.Join(args, "\n"))
	c.cmd.Stderr = c.logs
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			c.kill()
		}
		if s.t.Failed() {
			s.t.Logf("log of process %d:\n%s", c.cmd.Process.Pid, c.logs)
		}
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "Serving http://127.0.0.1:") {
		s.t.Fatalf("the program printed %q: %s", lines.Text(), c.logs)
	}
	c.url = strings.TrimSuffix(strings.TrimPrefix(lines.Text(), "Serving "), "/")
	return c
}

// kill ends the process as a failure of its host does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // reports that it was killed
}

// terminate ends the process as a deploy does, and waits for it.
func (c *child) terminate() {
	c.t.Helper()
	err := c.cmd.Process.Signal(syscall.SIGTERM)
	if err = errors.Join(err, c.cmd.Wait()); err != nil {
		c.t.Errorf("the program ended after SIGTERM with %v, want success", err)
	}
}

// waitOutput watches a bake until its script has begun, and returns the last event.
func (c *child) waitOutput(build string) (last string) {
	c.t.Helper()
	messages := c.watch(build, "", func(m message) bool { return strings.Contains(m.data, "migrating the code") })
	if len(messages) == 0 || messages[len(messages)-1].event == "end" {
		c.t.Fatalf("bake %s has ended without output: %v", build, messages)
	}
	return messages[len(messages)-1].id
}

// wantShop checks that there are one image of each layer and nothing else, made by a whole
// script.
func (s *site) wantShop(p *process, build string) {
	s.t.Helper()
	made := p.waitState(build, "baked")
	s.wantOnlyArtifacts(p)
	if n := s.cloud.CallCount("CreateImage"); n != 2 {
		s.t.Errorf("CreateImage was called %d times, want 2", n)
	}
	if text, err := s.cloud.ReadFile(made.Artifact.ID, "/srv/shop/environment"); err != nil || string(text) != "staging\n" {
		s.t.Errorf("the shop's environment is %q, %v, want staging", text, err)
	}
}

// wantOnlyArtifacts checks that nothing exists but the artifacts of bakes.
func (s *site) wantOnlyArtifacts(p *process) {
	s.t.Helper()
	var list struct{ Bakes []view }
	p.call(aliceToken, "GET", "/api/bakes", "", &list)
	var keep []string
	for _, b := range list.Bakes {
		if b.Artifact != nil {
			keep = append(keep, b.Artifact.ID)
		}
	}
	if left := s.cloud.LeftoversExcept(keep...); len(left) > 0 {
		s.t.Errorf("LeftoversExcept(%v) = %v, want none", keep, left)
	}
}

const orderShop = `{"image": "shop", "parameters": {"release": "1.2"}, "request": "r-1"}`

// TestReplaced replaces the process of a service in the middle of a bake, after a kill or
// by a deploy. Someone who watches sees every event once.
func TestReplaced(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*child){"killed": (*child).kill, "terminated": (*child).terminate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, t.TempDir())
			first := s.start()
			build := first.order(aliceToken, orderShop)
			last := first.waitOutput(build)
			end(first)
			second := s.start()
			if again := second.order(aliceToken, orderShop); again != build {
				t.Errorf("the repeated request made the build %s, want %s", again, build)
			}
			rest := second.watch(build, last, forever)
			s.wantShop(&second.process, build)
			whole := second.watch(build, "", forever)
			at := slices.IndexFunc(whole, func(m message) bool { return m.id == last })
			if at < 0 || !slices.Equal(whole[at+1:], rest) {
				t.Errorf("events after %s: %d, want %d of all %d", last, len(rest), len(whole)-at-1, len(whole))
			}
			kind := bake.BuildResumed
			if !slices.ContainsFunc(rest, func(m message) bool { return strings.Contains(m.data, `"`+string(kind)+`"`) }) {
				t.Errorf("no event %q among %v", kind, rest)
			}
			second.terminate()
		})
	}
}

// TestReplicas uses two processes on one store: the second one shows and cancels bakes of
// the first, and goes on with them when that is killed.
func TestReplicas(t *testing.T) {
	t.Parallel()
	stores := map[string]func(*testing.T) string{
		"directory":  func(t *testing.T) string { t.Helper(); return t.TempDir() },
		"PostgreSQL": func(t *testing.T) string { t.Helper(); return testenv.Postgres(t) },
	}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, store(t))
			replicas := []*child{s.start(), s.start()}
			build := replicas[0].order(aliceToken, orderShop)
			for _, r := range replicas { // either bakes, both show
				r.waitOutput(build)
			}
			running := replicas[1].waitState(build, "running")
			owner, other := replicas[0], replicas[1]
			if strings.Contains(running.Process, fmt.Sprintf("/%d/", other.cmd.Process.Pid)) {
				owner, other = other, owner
			}
			second := other.order(bobToken, `{"image": "shop", "parameters": {"release": "2"}, "request": "r-2"}`)
			var canceled view
			if status := owner.call(bobToken, "POST", "/api/bakes/"+second+"/cancel", `{"reason": "not yet"}`, &canceled); status != http.StatusOK {
				t.Errorf("cancel = %d, %+v", status, canceled)
			}
			if got := other.waitState(second, "canceled"); got.Cancel != "by bob: not yet" {
				t.Errorf("canceled bake = %+v, want by bob", got)
			}
			owner.kill()
			s.wantShop(&other.process, build)
			var list struct{ Bakes []view }
			if status := other.call(aliceToken, "GET", "/api/bakes?image=shop", "", &list); status != http.StatusOK || len(list.Bakes) != 2 {
				t.Errorf("list = %d, %+v, want both bakes", status, list)
			}
			other.terminate()
		})
	}
}

// TestCancelElsewhere cancels a bake in the middle of its script by the process that does
// not run it.
func TestCancelElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, t.TempDir())
	first := s.start()
	build := first.order(aliceToken, orderShop)
	first.waitOutput(build)
	second := s.start()
	if status := second.call(bobToken, "POST", "/api/bakes/"+build+"/cancel", `{}`, new(view)); status != http.StatusOK {
		t.Errorf("cancel = %d", status)
	}
	second.waitState(build, "canceled")
	s.wantOnlyArtifacts(&second.process)
	if n := s.cloud.CallCount("CreateImage"); n != 1 {
		t.Errorf("CreateImage was called %d times, want that of base only", n)
	}
}

// TestRunRefuses starts the program with arguments that are wrong.
func TestRunRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("alice short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"fewer than 20":                           {"-tokens", file},
		"read the tokens":                         {"-tokens", file + "x"},
		"-ec2: want embedded":                     {"-ec2", "https://ec2.example"},
		"open the store":                          {"-store", file},
		"open the store: cannot parse":            {"-store", "postgres://u:secret@:x/"},
		"listen":                                  {"-store", t.TempDir(), "-address", "127.0.0.1:x"},
		"flag provided but not defined: -unknown": {"-unknown"},
	} {
		if err := run(t.Context(), args, &logs{}, &logs{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("run(%q) = %v, want %q", args, err, want)
		}
	}
}
