package sshmachine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
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
		open := l.openSFTP(ctx, channels)
		defer closeAll(open)
		if len(open) > 0 {
			return l.getStriped(ctx, open, from, hasher, got)
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

// getStriped fetches a big file over several channels, each piece over the next
// one that is free, and passes them on in order.
func (l *link) getStriped(ctx context.Context, open []*channel, from *remote, hasher string, got *received) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop := context.AfterFunc(ctx, func() {
		for _, c := range open {
			_ = c.session.Close()
		}
	})
	defer stop()
	var digest bytes.Buffer
	var wg sync.WaitGroup
	defer wg.Wait()
	if hasher != "" {
		p := newScript(nil, fmt.Sprintf("head -c %d %s | %s | cut -c1-64", from.size, quote(from.path), hasher), nil)
		p.stdout = &digest
		wg.Go(func() {
			if err := l.runScript(ctx, p); err != nil {
				fail(err)
			}
		})
	}
	type piece struct {
		offset  int64
		content []byte
		ready   chan struct{}
	}
	workers := piecesPerChannel * len(open)
	inOrder, todo := make(chan *piece, workers), make(chan *piece)
	wg.Go(func() {
		defer close(inOrder)
		defer close(todo)
		for offset := int64(0); offset < from.size; offset += pieceSize {
			p := &piece{offset: offset, content: make([]byte, min(pieceSize, from.size-offset)), ready: make(chan struct{})}
			for _, queue := range []chan *piece{inOrder, todo} {
				select {
				case queue <- p:
				case <-ctx.Done():
					return
				}
			}
		}
	})
	for _, c := range open {
		wg.Go(func() {
			file, err := c.Open(from.path)
			if err != nil {
				fail(fmt.Errorf("sftp: %w", err))
				return
			}
			defer file.Close()
			var readers sync.WaitGroup
			for range piecesPerChannel {
				readers.Go(func() {
					for p := range todo {
						if _, err := file.ReadAt(p.content, p.offset); err != nil && !errors.Is(err, io.EOF) {
							fail(fmt.Errorf("sftp: %w", err))
							return
						}
						close(p.ready)
					}
				})
			}
			readers.Wait()
		})
	}
	for p := range inOrder {
		select {
		case <-p.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if _, err := got.Write(p.content); err != nil {
			fail(err)
			return err
		}
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return got.check(from, hasher, digest.String())
}
