package sshmachine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pkg/sftp"
)

const (
	// A session's window is 2 MiB, so a single one carries 2 MiB in a round
	// trip: 500 MiB/s at 4 ms, where other limits come first.
	stripeFromRTT  = 4 * time.Millisecond
	stripeFromSize = 32 << 20
	mostStripes    = 8

	// Two pieces of nearly 1 MiB, in whole requests, fill each channel's window.
	pieceSize        = 4 * openSSHPacket
	piecesPerChannel = 2
)

// stripes is over how many channels a file of the given size, zero for not
// known, should go. One is a command's input.
func (l *link) stripes(ctx context.Context, size int64) int {
	rtt := l.roundTrip(ctx)
	switch {
	case rtt < stripeFromRTT || size > 0 && size < stripeFromSize:
		return 1
	case rtt < 2*stripeFromRTT:
		return mostStripes / 2
	default:
		return mostStripes
	}
}

// stripe writes what from gives to a file, each piece over the next channel
// that is free. The end of ctx closes the channels.
func stripe(ctx context.Context, open []*channel, name string, from *segments) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop := context.AfterFunc(ctx, func() { // a request under way has no context
		for _, c := range open {
			_ = c.session.Close()
		}
	})
	defer stop()
	s := &striping{from: from, under: map[int64]bool{}}
	var wg sync.WaitGroup
	for _, c := range open {
		wg.Go(func() {
			if err := s.through(c, name, fail); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// striping is what the channels of one file share.
type striping struct {
	mu    sync.Mutex
	from  *segments
	ended bool
	under map[int64]bool // offsets of pieces that are under way
}

// through sends pieces over one channel until there are no more.
func (s *striping) through(c *channel, name string, fail context.CancelCauseFunc) error {
	file, err := c.OpenFile(name, os.O_WRONLY)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	var wg sync.WaitGroup
	for range piecesPerChannel {
		wg.Go(func() {
			if err := s.pieces(file); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
	if err := file.Close(); err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	return nil
}

func (s *striping) pieces(file *sftp.File) error {
	buffer := make([]byte, pieceSize)
	for {
		offset, n, err := s.next(buffer)
		if err != nil || n == 0 {
			return err
		}
		if _, err := file.WriteAt(buffer[:n], offset); err != nil {
			s.stop()
			return fmt.Errorf("sftp: %w", err)
		}
		s.stored(offset)
	}
}

// next reads the next piece; no bytes are the end.
func (s *striping) next(buffer []byte) (offset int64, n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, 0, nil
	}
	offset = s.from.size
	s.under[offset] = true
	s.settle()
	n, err = io.ReadFull(s.from, buffer)
	if err != nil {
		s.ended = true
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
	}
	return offset, n, err
}

// stop makes next end.
func (s *striping) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// stored notes a piece that has arrived.
func (s *striping) stored(offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under, offset)
}

// settle tells the segments up to where everything has arrived.
func (s *striping) settle() {
	least := s.from.size
	for offset := range s.under {
		least = min(least, offset)
	}
	s.from.stored = least
}

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
