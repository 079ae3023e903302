package sshmachine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
)

// filesAtOnce is how many files are under way over one SFTP channel: what
// counts is the round trips that each of them takes.
const filesAtOnce = 64

// parallel calls f for every index below n, some at once, until one fails.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, filesAtOnce) {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					fail(err)
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// putSFTP sends a tree over one SFTP channel, many files at once, into "t" of
// the given directory, and the notes about it beside that.
func putSFTP(ctx context.Context, c *channel, src *source, into string, report *progress) error {
	stop := context.AfterFunc(ctx, func() { _ = c.session.Close() })
	defer stop()
	s := &sftpTree{channel: c, src: src, into: into, report: report, sums: make([]string, len(src.entries))}
	err := s.send(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

type sftpTree struct {
	*channel
	src    *source
	into   string
	report *progress
	sums   []string
}

func (s *sftpTree) at(name string) string { return path.Join(s.into, "t", name) }

func (s *sftpTree) send(ctx context.Context) error {
	var dirs, rest []int
	for i, e := range s.src.entries {
		if e.mode.IsDir() {
			dirs = append(dirs, i)
		} else {
			rest = append(rest, i)
		}
	}
	depth := func(i int) int { return strings.Count(s.src.entries[i].name, "/") }
	slices.SortStableFunc(dirs, func(a, b int) int { return cmp.Compare(depth(a), depth(b)) })
	for left := dirs; len(left) > 0; {
		n := 1
		for n < len(left) && depth(left[n]) == depth(left[0]) {
			n++
		}
		level := left[:n]
		left = left[n:]
		err := parallel(ctx, n, func(i int) error { return s.Mkdir(s.at(s.src.entries[level[i]].name)) })
		if err != nil {
			return fmt.Errorf("sftp: %w", err)
		}
	}
	if err := parallel(ctx, len(rest), func(i int) error { return s.one(rest[i]) }); err != nil {
		return err
	}
	err := parallel(ctx, len(dirs), func(i int) error {
		e := s.src.entries[dirs[i]]
		if err := s.Chmod(s.at(e.name), e.mode&settable); err != nil {
			return err
		}
		return s.Chtimes(s.at(e.name), e.mtime, e.mtime)
	})
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	for _, note := range s.src.manifest(s.sums, false) {
		if err := s.write(path.Join(s.into, note.name), strings.NewReader(note.content)); err != nil {
			return err
		}
	}
	return nil
}

// one sends a file or a link.
func (s *sftpTree) one(i int) error {
	e := s.src.entries[i]
	if e.mode&fs.ModeSymlink != 0 {
		if err := s.Symlink(e.link, s.at(e.name)); err != nil {
			return fmt.Errorf("sftp: %s: %w", e.name, err)
		}
		return nil
	}
	reader, writer := io.Pipe()
	sum := sha256.New()
	read := make(chan error, 1)
	go func() {
		buffer := make([]byte, min(max(e.size, 1), copySize))
		err := copyFile(io.MultiWriter(writer, sum), s.src.fsys, e, buffer, s.report)
		_ = writer.CloseWithError(err)
		read <- err
	}()
	err := s.write(s.at(e.name), reader)
	_ = reader.CloseWithError(errEnded)
	if failed := <-read; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	s.sums[i] = hexSum(sum)
	if err := s.Chmod(s.at(e.name), e.mode&settable); err != nil {
		return fmt.Errorf("sftp: %s: %w", e.name, err)
	}
	if err := s.Chtimes(s.at(e.name), e.mtime, e.mtime); err != nil {
		return fmt.Errorf("sftp: %s: %w", e.name, err)
	}
	return nil
}

func (s *sftpTree) write(name string, content io.Reader) error {
	file, err := s.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("sftp: %s: %w", name, err)
	}
	_, err = file.ReadFromWithConcurrency(content, requestsPerFile)
	if failed := file.Close(); err == nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("sftp: %s: %w", name, err)
	}
	return nil
}
