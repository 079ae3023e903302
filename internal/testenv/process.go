package testenv

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// readyTimeout bounds the wait for a server to start. It is generous because
	// the machine may be busy compiling the rest of the module.
	readyTimeout = 60 * time.Second

	// emulatedTimeout is that of an emulated machine, and emulatedAttempt limits each
	// attempt to log in: a connection that was made before the guest listens stays silent.
	emulatedTimeout = 5 * time.Minute
	emulatedAttempt = 8 * time.Second

	// goneTimeout bounds the wait for killed processes, and for the users of a disk, to be
	// gone.
	goneTimeout = 10 * time.Second

	// pollInterval is the pause between two checks whether a server is ready or a
	// process is gone.
	pollInterval = 10 * time.Millisecond

	// logTail is the number of bytes of a server's log that a failed test shows.
	logTail = 16 << 10
)

// A process is a server started by a test. Its output goes to a file, since a
// grandchild could keep a pipe open after the server has ended.
type process struct {
	cmd     *exec.Cmd
	log     string
	done    chan struct{}
	marker  string
	stopped sync.Once
}

// start starts a program that runs until stop is called. Its output is appended
// to the file log. Marker and env are added to its environment, without the
// user's settings for AWS tools; marker identifies its descendants.
func start(t testing.TB, log, marker string, env []string, path string, args ...string) (*process, error) {
	t.Helper()
	file, err := os.OpenFile(filepath.Clean(log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()

	// The test's context ends before its clean-ups run. The process must outlive
	// it because stop needs to see the whole process tree.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	cmd.Env = append(append(environ(), marker), env...)
	cmd.Stdout = file
	cmd.Stderr = file
	setParentDeathSignal(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, marker: marker, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	return p, nil
}

// environ returns the environment without the user's settings for AWS tools.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "AWS_") || strings.HasPrefix(entry, "BOTO_") || strings.HasPrefix(entry, "MOTO_")
	})
}

// stop kills the process and its descendants and waits for them. Later calls do
// nothing.
func (p *process) stop() {
	p.stopped.Do(func() {
		p.killDescendants()
		_ = p.cmd.Process.Kill()
		<-p.done
	})
}

// killDescendants kills the descendants of the process and waits for them.
func (p *process) killDescendants() {
	if !p.exited() {
		killDescendants(p.cmd.Process.Pid, p.marker)
	}
}

// exited reports whether the process has ended.
func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// tail returns the end of the process's output.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(bytes.ToValidUTF8(text[max(0, len(text)-logTail):], []byte("?")))
}

// pause sleeps for pollInterval. It reports false if ctx has ended.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
