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
	// readyLimit bounds the wait for a server to answer. It is generous: the
	// machine may be compiling the rest of the module meanwhile.
	readyLimit = 60 * time.Second

	// lookAgain is the pause between two looks at a server that is not ready,
	// or at a process that is not gone.
	lookAgain = 10 * time.Millisecond

	// logTail is how much of a server's log a failed test shows.
	logTail = 16 << 10
)

// A process is a server that a test started. Its output goes to a file, so that
// nothing waits for the end of a pipe that a grandchild still holds.
type process struct {
	cmd     *exec.Cmd
	log     string
	done    chan struct{}
	marker  string
	stopped sync.Once
}

// start runs a program until stop is called. What it writes is added to the
// file log; marker and env are added to its environment, from which the user's
// settings of AWS tools are taken away. What it has started ends with it.
func start(t testing.TB, log, marker string, env []string, path string, args ...string) (*process, error) {
	t.Helper()
	file, err := os.OpenFile(filepath.Clean(log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()

	// The test's context ends before its clean-ups run, and the process must
	// outlive it: kill needs to see the whole tree.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	cmd.Env = append(append(environ(), marker), env...)
	cmd.Stdout = file
	cmd.Stderr = file
	tie(cmd)
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

// environ is the environment without the user's settings of AWS tools.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "AWS_") || strings.HasPrefix(entry, "BOTO_") || strings.HasPrefix(entry, "MOTO_")
	})
}

// stop kills the process and what it started, and waits for them. Later calls
// do nothing.
func (p *process) stop() {
	p.stopped.Do(func() {
		p.dropChildren()
		_ = p.cmd.Process.Kill()
		<-p.done
	})
}

// dropChildren kills what the process has started and waits for it.
func (p *process) dropChildren() {
	if !p.exited() {
		killTree(p.cmd.Process.Pid, p.marker)
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

// tail is the end of what the process wrote.
func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(bytes.ToValidUTF8(text[max(0, len(text)-logTail):], []byte("?")))
}

// pause waits for one look, and reports whether ctx allows another.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
