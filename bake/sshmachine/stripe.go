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
