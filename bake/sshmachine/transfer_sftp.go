package sshmachine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const (
	// openSSHPacket is what OpenSSH's server takes in one request; others are
	// only sure to take sftp's own default.
	openSSHPacket   = 255 << 10
	requestsPerFile = 64
)

// A channel is an SFTP client on a session of its own.
type channel struct {
	*sftp.Client
	session ssh.Channel
	release func()
	drained chan struct{}
}

// openSFTP opens up to n channels, at least one if the server has SFTP at all.
// It waits for the first slot only. A context that ends closes none of them.
func (l *link) openSFTP(ctx context.Context, n int) []*channel {
	var mu sync.Mutex
	var open []*channel
	var wg sync.WaitGroup
	for i := range n {
		if !l.takeSlot(ctx, i == 0) {
			break
		}
		release := func() { <-l.slots }
		wg.Go(func() {
			c, err := l.newChannel(release)
			if err != nil {
				release()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			open = append(open, c)
		})
	}
	wg.Wait()
	return open
}

func (l *link) newChannel(release func()) (*channel, error) {
	session, requests, err := l.openSession()
	if err != nil {
		return nil, err
	}
	c := &channel{session: session, release: release, drained: make(chan struct{})}
	go func() { // ends with the session, which close waits for
		defer close(c.drained)
		ssh.DiscardRequests(requests)
	}()
	fail := func(err error) (*channel, error) {
		_ = session.Close()
		<-c.drained
		return nil, err
	}
	ok, err := session.SendRequest("subsystem", true, ssh.Marshal(&subsystemRequest{Name: "sftp"}))
	if err != nil || !ok {
		return fail(errors.Join(errors.New("the server has no SFTP"), err))
	}
	c.Client, err = sftp.NewClientPipe(session, session,
		sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(requestsPerFile), packetOf(l.client))
	if err != nil {
		return fail(fmt.Errorf("sftp: %w", err))
	}
	return c, nil
}

// packetOf is the size of requests that the server surely takes.
func packetOf(client *ssh.Client) sftp.ClientOption {
	const vendor = "SSH-2.0-OpenSSH"
	if version := string(client.ServerVersion()); len(version) >= len(vendor) && version[:len(vendor)] == vendor {
		return sftp.MaxPacketUnchecked(openSSHPacket)
	}
	const everyone = 32 << 10
	return sftp.MaxPacketChecked(everyone)
}

// close ends the channel and waits for it.
func (c *channel) close() {
	_ = c.Close()
	_ = c.session.Close()
	<-c.drained
	c.release()
}

func closeAll(open []*channel) {
	var wg sync.WaitGroup
	for _, c := range open {
		wg.Go(c.close)
	}
	wg.Wait()
}

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

// getSFTP fetches a tree over an SFTP channel, many files at once. SFTP runs as
// the login, so it cannot read as root.
func (c *channel) getSFTP(ctx context.Context, from *remote, into *sink) error {
	stop := context.AfterFunc(ctx, func() { _ = c.session.Close() })
	defer stop()
	err := c.fetchTree(ctx, from.path, into)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (c *channel) fetchTree(ctx context.Context, root string, into *sink) error {
	var rest []entry
	walker := c.Walk(root)
	for walker.Step() {
		if err := walker.Err(); err != nil {
			return fmt.Errorf("sftp: %w", err)
		}
		info := walker.Stat()
		name := strings.TrimPrefix(strings.TrimPrefix(walker.Path(), root), "/")
		if name == "" {
			name = "."
		}
		if name != "." && into.ex.Match(name) {
			if info.IsDir() {
				walker.SkipDir()
			}
			continue
		}
		e := entry{name: name, mode: info.Mode(), size: info.Size(), mtime: info.ModTime()}
		if !info.IsDir() {
			rest = append(rest, e)
			continue
		}
		if err := into.take(e, nil); err != nil {
			return err
		}
	}
	return parallel(ctx, len(rest), func(i int) error { return c.fetch(rest[i], root, into) })
}

// fetch takes one file or link.
func (c *channel) fetch(e entry, root string, into *sink) error {
	name := path.Join(root, e.name)
	if e.mode&fs.ModeSymlink != 0 {
		target, err := c.ReadLink(name)
		if err != nil {
			return fmt.Errorf("sftp: %s: %w", name, err)
		}
		e.link = target
		return into.take(e, nil)
	}
	if !e.mode.IsRegular() {
		return nil
	}
	file, err := c.Open(name)
	if err != nil {
		return fmt.Errorf("sftp: %s: %w", name, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	return into.take(e, io.LimitReader(file, e.size))
}
