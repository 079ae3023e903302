package qemu

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// A process is a QEMU that this process has started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of Wait; valid once done is closed
}

// startProcess starts a program in dir, with its output in the file named log. Release
// is called when the program has ended. A detached program goes on when this process has
// ended, also by a signal from its terminal.
func startProcess(program string, args []string, dir, log string, detached bool, release func()) (*process, error) {
	out, err := os.OpenFile(filepath.Join(dir, log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, privateFile) //nolint:gosec // below Host's directory
	if err != nil {
		release()
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(program, args...), done: make(chan struct{})} //nolint:gosec,noctx // the caller's program; it outlives the step
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	if detached {
		detach(p.cmd)
	} else {
		endWithParent(p.cmd)
	}
	started := make(chan error, 1)
	go func() {
		// The kernel takes the end of this thread for the end of the parent, so the
		// thread must live as long as the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer release()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// ended reports whether the process has ended.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
