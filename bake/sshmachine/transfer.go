package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// An entry describes a file, directory or symbolic link of a tree.
type entry struct {
	name  string // slash-separated path below the root
	mode  fs.FileMode
	size  int64
	mtime time.Time
	link  string // target of a symbolic link
}

// octal returns mode's permission bits as four octal digits, as scp requires.
func octal(mode fs.FileMode) string {
	digits := posixsh.Mode(mode)
	return strings.Repeat("0", max(0, 4-len(digits))) + digits
}

// noRetry replaces an error that would make withConn retry a transfer, which is
// not possible once a part of its input has been read.
func (c *conn) noRetry(err error) error {
	if errors.Is(err, errNotStarted) {
		return c.lostError()
	}
	return err
}

// prepareTransfer returns how to become root, nil unless asRoot is set, and the
// guest's tools.
func (c *conn) prepareTransfer(ctx context.Context, asRoot bool) (*sudo, *guestInfo, error) {
	su, err := c.sudoIf(ctx, asRoot)
	if err != nil {
		return nil, nil, err
	}
	g, err := c.guestInfo(ctx)
	return su, g, err
}

// tempPrefix begins the names of all temporary files of transfers.
const tempPrefix = ".bakestone."

// trapCleanUp returns the start of a script that runs command, ignoring signals, when
// it exits.
func trapCleanUp(command string) string {
	return "trap " + quote("trap '' HUP INT TERM; "+command) + " EXIT; trap 'exit 1' HUP INT TERM\n"
}

// checkLinks returns the start of a script that fails if a part of an absolute path is
// a symbolic link that it should not follow. The shell function follow decides: links
// of root and of the login, whose uid is given, are followed, and others if they lead
// to a file of the same owner. So no other user can redirect what root writes.
func checkLinks(uid int, name string) string {
	return fmt.Sprintf(`follow() {
[ -L "$1" ] || return 0
u=$(stat -c %%u "$1") || return 1
case $u in 0 | %d) return 0;; esac
[ "$u" = "$(stat -L -c %%u "$1" 2>/dev/null)" ] && return 0
echo "$1 is a symbolic link of user $u, which is not followed" >&2
return 1
}
p=''; r=%s
while [ -n "$r" ]; do p=$p/${r%%%%/*}; case $r in */*) r=${r#*/};; *) r='';; esac; follow "$p" || exit 1; done
`, uid, quote(strings.TrimPrefix(name, "/")))
}

// moveScript defines the shell function move TO FROM…, which fails unless mv moved all.
const moveScript = `move() {
m=$1; shift; mv -f "$@" "$m" || return 1
for e; do if ` + isThere + `; then echo "mv: exit status 0, but $e was not moved" >&2; return 1; fi; done
}
`

// copyFile copies a file, which must still have the size it had when listed, e.size.
func copyFile(to io.Writer, fsys fs.FS, e entry, buffer []byte, report *progress) error {
	file, err := fsys.Open(e.name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	if err := copyStart(to, file, e, buffer, report); err != nil {
		return err
	}
	if n, err := io.ReadFull(file, buffer[:1]); n > 0 {
		return fmt.Errorf("%s: changed while being sent: has more than the %d bytes it had when listed", e.name, e.size)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

// copyStart copies the first e.size bytes of a file.
func copyStart(to io.Writer, file io.Reader, e entry, buffer []byte, report *progress) error {
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
			return fmt.Errorf("%s: changed while being sent: %w", e.name, errors.Join(err, io.ErrUnexpectedEOF))
		}
	}
	return nil
}

// reportInterval is the minimum time between two progress reports.
const reportInterval = 100 * time.Millisecond

// progress counts transferred bytes and reports them at intervals. It is safe for
// concurrent use.
type progress struct {
	report func(done, total int64)
	total  int64

	mu       sync.Mutex
	done     int64
	last     time.Time
	reported int64 // the last value of done that was reported
}

func newProgress(report func(done, total int64), total int64) *progress {
	return &progress{report: report, total: total, reported: -1}
}

// expect sets the total.
func (p *progress) expect(total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = total
}

// add counts n more bytes.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(n)
	if now := time.Now(); p.report != nil && now.Sub(p.last) >= reportInterval {
		p.last = now
		p.send()
	}
}

// finish reports the final count unless it has been reported.
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

// Write counts the bytes of b, for io.MultiWriter and io.TeeReader.
func (p *progress) Write(b []byte) (int, error) {
	p.add(len(b))
	return len(b), nil
}
