package sshmachine

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
)

const (
	// segment is how much of a big file is compared at once.
	segment = 64 << 20

	// ahead is how much further a sender in order must be before the machine is
	// asked for the digest of a segment: more than can be under way. The machine
	// then waits for the rest.
	ahead = 8 << 20
)

// segments reads a big file, and has the machine's digest of every 64 MiB
// compared with ours while the next ones are sent.
type segments struct {
	from    io.Reader
	control *control
	hashes  bool

	sum      hash.Hash
	size     int64
	stored   int64    // bytes that have surely arrived; negative is not known
	sums     []string // of whole segments
	asked    int
	answered chan error // of the question under way
}

func newSegments(from io.Reader, c *control, hashes bool) *segments {
	return &segments{from: from, control: c, hashes: hashes, stored: -1, sum: sha256.New()}
}

// Read reads the file and takes its digest.
func (s *segments) Read(b []byte) (int, error) {
	left := segment - s.size%segment
	n, err := s.from.Read(b[:min(int64(len(b)), left)])
	s.size += int64(n)
	if s.hashes && n > 0 {
		_, _ = s.sum.Write(b[:n])
		if s.size%segment == 0 {
			s.sums = append(s.sums, hexSum(s.sum))
			s.sum.Reset()
		}
		if failed := s.follow(); failed != nil {
			return n, failed
		}
	}
	return n, err
}

// follow asks for the next digest when the last one has come.
func (s *segments) follow() error {
	if s.answered != nil {
		select {
		case err := <-s.answered:
			s.answered = nil
			if err != nil {
				return err
			}
		default:
			return nil
		}
	}
	stored := s.stored
	if stored < 0 {
		stored = s.size - ahead
	}
	if s.asked < len(s.sums) && stored >= int64(s.asked+1)*segment {
		s.ask()
	}
	return nil
}

// ask has the next segment compared.
func (s *segments) ask() {
	i, want := s.asked, s.sums[s.asked]
	end := min(int64(i+1)*segment, s.size)
	s.asked++
	answered := make(chan error, 1)
	s.answered = answered
	go func() {
		got, err := s.control.ask("sum %d %d", i*(segment>>20), end)
		if err == nil && got != want {
			err = fmt.Errorf("the digest of the bytes from %d to %d differs: %s", int64(i)*segment, end, got)
		}
		answered <- err
	}()
}

// finish compares what is left, when everything has arrived, and the size.
func (s *segments) finish() error {
	if s.hashes && s.size%segment != 0 {
		s.sums = append(s.sums, hexSum(s.sum))
	}
	for s.hashes && (s.answered != nil || s.asked < len(s.sums)) {
		if s.answered == nil {
			s.ask()
		}
		err := <-s.answered
		s.answered = nil
		if err != nil {
			return err
		}
	}
	answer, err := s.control.ask("size")
	if err != nil {
		return err
	}
	if got, err := strconv.ParseInt(answer, 10, 64); err != nil || got != s.size {
		return errors.Join(fmt.Errorf("%d bytes were sent, %s have arrived", s.size, answer), err)
	}
	return nil
}

// wait waits for the question under way, if there is one.
func (s *segments) wait() {
	if s.answered != nil {
		<-s.answered //nolint:errcheck // only its end matters here
		s.answered = nil
	}
}
