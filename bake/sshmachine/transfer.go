package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"
)

// An entry is a file, directory or symbolic link of a tree.
type entry struct {
	name  string // below the root, with slashes
	mode  fs.FileMode
	size  int64
	mtime time.Time
	link  string // the target of a symbolic link
}

// octal is mode's permission bits as chmod takes them.
func octal(mode fs.FileMode) string {
	n := uint32(mode.Perm())
	for _, bit := range []struct {
		mode  fs.FileMode
		value uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&bit.mode != 0 {
			n |= bit.value
		}
	}
	return fmt.Sprintf("%04o", n)
}

// rights says how the transfer becomes root, if it should.
func (c *conn) sudoIf(ctx context.Context, asRoot bool) (*sudo, error) {
	if !asRoot {
		return nil, nil //nolint:nilnil // the login as it is
	}
	return c.detectSudo(ctx)
}

// begun makes an error after which nothing may be tried again, because a part
// of the input was read.
func (c *conn) noRetry(err error) error {
	if errors.Is(err, errNotStarted) {
		return c.lostError()
	}
	return err
}

// both finds out how to become root and what the machine has.
func (c *conn) prepareTransfer(ctx context.Context, asRoot bool) (*sudo, *guestInfo, error) {
	root, err := c.sudoIf(ctx, asRoot)
	if err != nil {
		return nil, nil, err
	}
	g, err := c.guestInfo(ctx)
	return root, g, err
}

// prefix of everything temporary that a transfer makes on the machine.
const tempPrefix = ".bakestone."

// cleanUp makes a script remove what it made when it ends early.
func trapCleanUp(command string) string {
	return "trap " + quote(command) + " EXIT; trap 'exit 1' HUP INT TERM\n"
}

// copyFile copies exactly the bytes that the file had when it was listed.
func copyFile(to io.Writer, fsys fs.FS, e entry, buffer []byte, report *progress) error {
	file, err := fsys.Open(e.name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	left := e.size
	for left > 0 {
		n, err := file.Read(buffer[:min(left, int64(len(buffer)))])
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
			report.add(n)
			left -= int64(n)
		}
		if err != nil && left > 0 {
			return fmt.Errorf("%s: it changed while it was sent: %w", e.name, errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
	return nil
}

// reportEvery is the least time between two reports of progress.
const reportEvery = 100 * time.Millisecond

// progress counts bytes and reports them now and then. It may be used by
// several goroutines at once.
type progress struct {
	report func(done, total int64)
	total  int64

	mu       sync.Mutex
	done     int64
	last     time.Time
	reported int64
}

func newProgress(report func(done, total int64), total int64) *progress {
	return &progress{report: report, total: total, reported: -1}
}

// add counts n more bytes.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(n)
	if now := time.Now(); p.report != nil && now.Sub(p.last) >= reportEvery {
		p.last = now
		p.send()
	}
}

// finish reports the end, if that was not said yet.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil && p.reported != p.done {
		p.send()
	}
}

func (p *progress) send() {
	p.reported = p.done
	p.report(p.done, p.total)
}

// Write counts what is written, for io.MultiWriter and io.TeeReader.
func (p *progress) Write(b []byte) (int, error) {
	p.add(len(b))
	return len(b), nil
}
