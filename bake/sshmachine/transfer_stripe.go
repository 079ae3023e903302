package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"
)

const (
	// A session's window is 2 MiB, so one session carries at most 2 MiB per round
	// trip. At 4 ms that is 500 MiB/s, where other limits are reached first.
	stripeMinRTT  = 4 * time.Millisecond
	stripeMinSize = 32 << 20
	maxStripes    = 8

	// Two pieces of nearly 1 MiB, a multiple of the request size, fill a channel's
	// window.
	pieceSize        = 4 * openSSHPacketSize
	piecesPerChannel = 2
)

// stripeCount returns the number of SFTP channels to use for a file of the given
// size, which is zero if unknown. One means a command's input or output instead.
func (c *conn) stripeCount(ctx context.Context, size int64) int {
	rtt := c.roundTrip(ctx)
	switch {
	case rtt < stripeMinRTT || size > 0 && size < stripeMinSize:
		return 1
	case rtt < 2*stripeMinRTT:
		return maxStripes / 2
	default:
		return maxStripes
	}
}

// putStriped writes the content of from to a file, each piece over the next free
// channel. It closes the channels if ctx ends.
func putStriped(ctx context.Context, open []*sftpChannel, name string, from *segmentVerifier) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	defer closeWhenDone(ctx, open...)()
	s := &stripedUpload{from: from, inFlight: map[int64]bool{}}
	var wg sync.WaitGroup
	for _, ch := range open {
		wg.Go(func() {
			if err := s.sendOver(ch, name, fail); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// A stripedUpload is the state shared by the channels that write a file.
type stripedUpload struct {
	mu       sync.Mutex
	from     *segmentVerifier
	atEnd    bool
	inFlight map[int64]bool // offsets of pieces being written
}

// sendOver sends pieces over one channel until there are no more.
func (s *stripedUpload) sendOver(ch *sftpChannel, name string, fail context.CancelCauseFunc) error {
	file, err := ch.OpenFile(name, os.O_WRONLY)
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	var wg sync.WaitGroup
	for range piecesPerChannel {
		wg.Go(func() {
			if err := s.sendPieces(file); err != nil {
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

func (s *stripedUpload) sendPieces(file *sftp.File) error {
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
		s.pieceStored(offset)
	}
}

// next reads the next piece. n is zero at the end.
func (s *stripedUpload) next(buffer []byte) (offset int64, n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.atEnd {
		return 0, 0, nil
	}
	offset = s.from.size
	s.inFlight[offset] = true
	s.updateStored()
	n, err = io.ReadFull(s.from, buffer)
	if err != nil {
		s.atEnd = true
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
	}
	return offset, n, err
}

// stop makes next return the end.
func (s *stripedUpload) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atEnd = true
}

// pieceStored records that a piece has been written.
func (s *stripedUpload) pieceStored(offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inFlight, offset)
}

// updateStored tells the verifier how many bytes have arrived without gaps.
func (s *stripedUpload) updateStored() {
	least := s.from.size
	for offset := range s.inFlight {
		least = min(least, offset)
	}
	s.from.stored = least
}

// getStriped fetches a big file over up to n channels, each piece over the next free
// one, and writes the pieces in order, while the machine computes the digest. done
// is false if the machine has no SFTP.
func (c *conn) getStriped(ctx context.Context, n int, from *remoteFile, hasher string, got *fileReceiver) (done bool, err error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	var digest answer
	if hasher != "" {
		// Taken before those of the channels, to avoid a deadlock between
		// transfers that hold some slots and wait for another.
		if !c.takeSlot(ctx, true) {
			return true, c.noSlotError(ctx)
		}
		p := c.newScript(nil, "f="+quote(from.path)+"\n"+blocksScript+digestOfFirst(hasher, from.size), nil)
		p.stdout = &digest
		wg.Go(func() {
			if err := c.runScriptInSlot(ctx, p, c.releaseSlot); err != nil {
				fail(err)
			}
		})
	}
	open, err := c.openSFTP(ctx, n, true)
	if err != nil {
		fail(errReceiverEnded)
		return false, nil
	}
	defer closeAll(open)
	defer closeWhenDone(ctx, open...)()
	if err := readInOrder(ctx, fail, open, from, got); err != nil {
		fail(err)
		return true, err
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return true, err
	}
	return true, got.check(from, hasher, digest.String())
}

// A piece is a part of a file being fetched.
type piece struct {
	offset  int64
	content []byte
	ready   chan struct{} // closed when content is complete
}

// readInOrder reads a file's pieces over all channels and writes them in order.
func readInOrder(ctx context.Context, fail context.CancelCauseFunc, open []*sftpChannel, from *remoteFile, to io.Writer) error {
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
	for _, ch := range open {
		wg.Go(func() {
			if err := ch.readPieces(from.path, todo, fail); err != nil {
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
func (ch *sftpChannel) readPieces(name string, todo <-chan *piece, fail context.CancelCauseFunc) error {
	file, err := ch.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	var group errgroup.Group
	for range piecesPerChannel {
		group.Go(func() error {
			for p := range todo {
				if _, err := file.ReadAt(p.content, p.offset); err != nil && !errors.Is(err, io.EOF) {
					fail(fmt.Errorf("sftp: %w", err)) // now: the other goroutine may wait for pieces
					return err
				}
				close(p.ready)
			}
			return nil
		})
	}
	return group.Wait()
}
