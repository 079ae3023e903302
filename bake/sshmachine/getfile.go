package sshmachine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strings"
)

// getFile fetches the bytes that a file has now. What a log grows meanwhile is
// left out.
func (l *link) getFile(ctx context.Context, root *sudo, from *remote, to io.Writer, report *progress) error {
	g, err := l.look(ctx)
	if err != nil {
		return err
	}
	got := &received{to: to, sum: sha256.New(), report: report}
	hasher := g.hasher(from.size)
	if channels := l.stripes(ctx, from.size); channels > 1 && from.size > 0 && (root == nil || !root.needed) {
		if done, err := l.getStriped(ctx, channels, from, hasher, got); done || err != nil {
			return err
		}
	}
	content := `cat "$f"`
	if from.size > 0 {
		content = fmt.Sprintf(`head -c %d "$f"`, from.size)
	}
	script := "f=" + quote(from.path) + "\n"
	if hasher != "" && from.size > 0 {
		// Both read the file at once: the second finds it in memory.
		script += "{ " + content + " | " + hasher + " | cut -c1-64 >&2; } &\n"
	} else {
		hasher = ""
	}
	script += content + " || exit 1\nwait"
	var said bytes.Buffer
	p := newScript(root, script, nil)
	p.stdout, p.stderr = got, &said
	if err := l.runScript(ctx, p); err != nil {
		return err
	}
	return got.check(from, hasher, said.String())
}

// received passes a file on, and takes its size and digest.
type received struct {
	to     io.Writer
	sum    hash.Hash
	size   int64
	report *progress
}

// Write passes b on.
func (r *received) Write(b []byte) (int, error) {
	n, err := r.to.Write(b)
	_, _ = r.sum.Write(b[:n])
	r.size += int64(n)
	r.report.add(n)
	return n, err
}

// check compares with what the machine says.
func (r *received) check(from *remote, hasher, said string) error {
	if from.size > 0 && r.size != from.size {
		return fmt.Errorf("%d bytes have arrived, not %d: it changed while it was read", r.size, from.size)
	}
	if hasher == "" {
		return nil
	}
	if want, got := strings.TrimSpace(said), hexSum(r.sum); want != got {
		return fmt.Errorf("the digest differs: the machine has %.100s, %s has arrived", want, got)
	}
	return nil
}
