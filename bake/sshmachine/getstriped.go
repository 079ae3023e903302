package sshmachine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// getStriped fetches a big file over up to n channels, each piece over the next
// one that is free, and passes them on in order, while the machine computes the
// digest. It reports false when the machine has no SFTP.
func (l *link) getStriped(ctx context.Context, n int, from *remote, hasher string, got *received) (done bool, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	var digest bytes.Buffer
	if hasher != "" {
		// It has its slot before the channels have theirs: who holds a slot
		// never waits for one that another such holds.
		if !l.takeSlot(ctx, true) {
			return true, l.noSlot(ctx)
		}
		p := newScript(nil, fmt.Sprintf("head -c %d %s | %s | cut -c1-64", from.size, quote(from.path), hasher), nil)
		p.stdout = &digest
		wg.Go(func() {
			if err := l.runScriptInSlot(ctx, p, func() { <-l.slots }); err != nil {
				fail(err)
			}
		})
	}
	open := l.openSFTP(ctx, n)
	if len(open) == 0 {
		fail(errEnded)
		return false, nil
	}
	defer closeAll(open)
	stop := context.AfterFunc(ctx, func() { // a request under way has no context
		for _, c := range open {
			_ = c.session.Close()
		}
	})
	defer stop()
	if err := passOn(ctx, fail, open, from, got); err != nil {
		fail(err)
		return true, err
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return true, err
	}
	return true, got.check(from, hasher, digest.String())
}

// A piece is a part of a file on its way.
type piece struct {
	offset  int64
	content []byte
	ready   chan struct{}
}

// passOn reads a file's pieces over all channels, and writes them in order.
func passOn(ctx context.Context, fail context.CancelCauseFunc, open []*channel, from *remote, to io.Writer) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	inOrder, todo := make(chan *piece, piecesPerChannel*len(open)), make(chan *piece)
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
			if err := c.readPieces(from.path, todo); err != nil {
				fail(fmt.Errorf("sftp: %w", err))
			}
		})
	}
	for p := range inOrder {
		select {
		case <-p.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if _, err := to.Write(p.content); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// readPieces reads pieces over one channel until there are no more.
func (c *channel) readPieces(name string, todo <-chan *piece) error {
	file, err := c.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	var wg sync.WaitGroup
	failed := make(chan error, piecesPerChannel)
	for range piecesPerChannel {
		wg.Go(func() {
			for p := range todo {
				if _, err := file.ReadAt(p.content, p.offset); err != nil && !errors.Is(err, io.EOF) {
					failed <- err
					return
				}
				close(p.ready)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
