//go:build unix

package signals_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/signals"
	"github.com/bakestone-go/bakestone/bake/terminal"
)

// The environment of the program that gets signals: what it does, and the file to which
// it writes how it ended.
const (
	childMode = "BAKESTONE_TEST_SIGNALS"
	childEnd  = "BAKESTONE_TEST_SIGNALS_END"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		program(mode)
		return
	}
	os.Exit(m.Run())
}

// program bakes an image that never ends by itself, and prints "baking" when it does.
func program(mode string) {
	ctx, stop := signals.Context(context.Background(), &signals.Options{
		Cause: func(s os.Signal) error {
			if s == syscall.SIGTERM && mode == "suspend" {
				return bake.ErrSuspended
			}
			return nil
		},
		Received: func(s os.Signal, n int) { fmt.Printf("signal %d: %v\n", n, s) },
	})
	defer stop()
	img := &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil), Steps: []bake.Step{{
		Name: "make", At: bake.BeforeLaunch,
		Do: func(ctx context.Context) error {
			bake.RunFromContext(ctx).Created("thing", "t-1")
			return nil
		},
		Undo: func(ctx context.Context, _ bake.Outcome) error {
			if mode == "hang" {
				select {}
			}
			if mode == "stuck" {
				fmt.Println("undoing")
				<-ctx.Done()
				return context.Cause(ctx)
			}
			bake.RunFromContext(ctx).Removed("thing", "t-1")
			return nil
		},
	}}, Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "long", Do: func(ctx context.Context, _ bake.Machine) error {
		fmt.Println("baking")
		if mode == "pipe" { // goes on for long after the reader has gone
			for range 1000 {
				fmt.Println(strings.Repeat("x", 1000))
			}
			return errors.New("end of a long output")
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}}}}
	_, err := bake.Bake(ctx, &bake.Options{Observe: terminal.New(os.Stdout, nil).Observe}, img)
	left := "cleaned"
	if l, ok := errors.AsType[*bake.LeftError](err); ok {
		left = l.Error()
	}
	if errors.Is(err, bake.ErrSuspended) {
		left += " suspended"
	}
	end := fmt.Sprintf("%s: %v", left, context.Cause(ctx))
	if err := os.WriteFile(os.Getenv(childEnd), []byte(end), 0o600); err != nil {
		panic(err)
	}
}

// A child is the program.
type child struct {
	*exec.Cmd

	lines *bufio.Scanner
	end   string
}

// start starts the program, by args or itself, and waits until it bakes.
func start(t *testing.T, mode string, args ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(args, self) {
		args = append(args, self)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), args[0], args[1:]...), end: filepath.Join(t.TempDir(), "end")}
	c.Env = append(os.Environ(), childMode+"="+mode, childEnd+"="+c.end)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.lines = bufio.NewScanner(out)
	c.await(t, "baking")
	return c
}

// await reads the output until a line contains text.
func (c *child) await(t *testing.T, text string) {
	t.Helper()
	for c.lines.Scan() {
		if strings.Contains(c.lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the program ended before it printed %q", text)
}

func (c *child) send(t *testing.T, s os.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// wantEnd waits for the end of the program, and checks what it has written.
func (c *child) wantEnd(t *testing.T, want string) {
	t.Helper()
	for c.lines.Scan() {
		continue
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the program ended with %v, want success", err)
	}
	if got, err := os.ReadFile(c.end); err != nil || string(got) != want {
		t.Errorf("the program's end = %q, %v, want %q", got, err, want)
	}
}

// TestSignalCancels sends each signal to a program that bakes: it cleans up, and its
// cause says which one.
func TestSignalCancels(t *testing.T) {
	for s, want := range map[os.Signal]string{
		os.Interrupt: "interrupt", syscall.SIGTERM: "terminated", syscall.SIGHUP: "hangup",
	} {
		t.Run(want, func(t *testing.T) {
			c := start(t, "cancel")
			c.send(t, s)
			c.wantEnd(t, "cleaned: received signal "+want)
		})
	}
}

func TestSignalWithOtherCause(t *testing.T) {
	c := start(t, "suspend")
	c.send(t, syscall.SIGTERM)
	c.wantEnd(t, "cleaned suspended: received signal terminated: suspended")
}

// TestSecondSignalHurries sends a second signal to a program whose clean-up hangs.
func TestSecondSignalHurries(t *testing.T) {
	c := start(t, "stuck")
	c.send(t, os.Interrupt)
	c.await(t, "undoing")
	c.sendUntil(t, "signal 2: ")
	c.wantEnd(t, "left behind: thing t-1: received signal interrupt")
}

// sendUntil repeats SIGTERM until the program says that it got it: one that follows
// another at once counts as the same.
func (c *child) sendUntil(t *testing.T, text string) {
	t.Helper()
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		c.await(t, text)
	}()
	for {
		c.send(t, syscall.SIGTERM)
		select {
		case <-seen:
			return
		case <-time.After(600 * time.Millisecond):
		}
	}
}

// TestThirdSignalEnds sends signals until the program ends, although its clean-up hangs.
func TestThirdSignalEnds(t *testing.T) {
	c := start(t, "hang")
	go func() {
		for c.lines.Scan() {
			continue
		}
	}()
	ended := make(chan error)
	go func() { ended <- c.Wait() }()
	for {
		_ = c.Process.Signal(syscall.SIGTERM) // fails once it has ended
		select {
		case err := <-ended:
			exit, ok := errors.AsType[*exec.ExitError](err)
			if _, wrote := os.Stat(c.end); !ok || exit.ExitCode() != -1 || wrote == nil {
				t.Errorf("the program ended with %v, want the signal to end it", err)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// TestBrokenPipe runs "program | head -1": the bake goes on to its end.
func TestBrokenPipe(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	end := filepath.Join(t.TempDir(), "end")
	sh := exec.CommandContext(t.Context(), "sh", "-c", `"$0" | head -1`, self)
	sh.Env = append(os.Environ(), childMode+"=pipe", childEnd+"="+end)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, err := os.ReadFile(end); err != nil || string(got) != "cleaned: <nil>" {
		t.Errorf("the program's end = %q, %v, want it to clean up and to be told of no signal", got, err)
	}
}

// TestClosedTerminal closes the terminal of a program that bakes and prints.
func TestClosedTerminal(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("requires script")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, "cancel", "script", "-qfec", self, "/dev/null")
	if err := c.Process.Kill(); err != nil { // it holds the other side of the terminal
		t.Fatal(err)
	}
	_ = c.Wait() // reports that it was killed
	for range 3000 {
		if got, err := os.ReadFile(c.end); err == nil && len(got) > 0 {
			if string(got) != "cleaned: received signal hangup" {
				t.Errorf("the program's end = %q, want it to clean up after the hangup", got)
			}
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("the program did not clean up after its terminal was closed")
}

// TestIgnoredSignal starts the program as nohup does.
func TestIgnoredSignal(t *testing.T) {
	c := start(t, "cancel", "sh", "-c", `trap "" HUP; exec "$0"`)
	c.send(t, syscall.SIGHUP)
	c.send(t, syscall.SIGTERM)
	c.wantEnd(t, "cleaned: received signal terminated")
}

// TestStop restores the program's usual behavior, and ends the context.
func TestStop(t *testing.T) {
	ctx, stop := signals.Context(t.Context(), nil)
	if ctx.Err() != nil {
		t.Errorf("Context() has ended: %v", context.Cause(ctx))
	}
	stop()
	stop()
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		t.Errorf("cause after stop = %v, want Canceled", context.Cause(ctx))
	}
	if signal.Ignored(syscall.SIGHUP) {
		t.Error("SIGHUP is ignored after stop")
	}
}
