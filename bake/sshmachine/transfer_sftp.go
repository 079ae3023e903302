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
	openSSHPacketSize = 255 << 10
	requestsPerFile   = 64
)

// A channel is an SFTP client on a session of its own.
type sftpChannel struct {
	*sftp.Client
	session ssh.Channel
	release func()
	drained chan struct{}
}

// openSFTP opens up to n channels, at least one if the server has SFTP at all.
// It waits for the first slot only. A context that ends closes none of them.
func (c *conn) openSFTP(ctx context.Context, n int) []*sftpChannel {
	var mu sync.Mutex
	var open []*sftpChannel
	var wg sync.WaitGroup
	for i := range n {
		if !c.takeSlot(ctx, i == 0) {
			break
		}
		wg.Go(func() {
			ch, err := c.newChannel()
			if err != nil {
				c.releaseSlot()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			open = append(open, ch)
		})
	}
	wg.Wait()
	return open
}

func (c *conn) newChannel() (*sftpChannel, error) {
	session, requests, err := c.openSession()
	if err != nil {
		return nil, err
	}
	ch := &sftpChannel{session: session, release: c.releaseSlot, drained: make(chan struct{})}
	go func() { // ends with the session, which close waits for
		defer close(ch.drained)
		ssh.DiscardRequests(requests)
	}()
	fail := func(err error) (*sftpChannel, error) {
		_ = session.Close()
		<-ch.drained
		return nil, err
	}
	ok, err := session.SendRequest("subsystem", true, ssh.Marshal(&subsystemRequest{Name: "sftp"}))
	if err != nil || !ok {
		return fail(errors.Join(errors.New("the server has no SFTP"), err))
	}
	ch.Client, err = sftp.NewClientPipe(session, session,
		sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(requestsPerFile), packetSize(c.client))
	if err != nil {
		return fail(fmt.Errorf("sftp: %w", err))
	}
	return ch, nil
}

// packetOf is the size of requests that the server surely takes.
func packetSize(client *ssh.Client) sftp.ClientOption {
	const vendor = "SSH-2.0-OpenSSH"
	if version := string(client.ServerVersion()); len(version) >= len(vendor) && version[:len(vendor)] == vendor {
		return sftp.MaxPacketUnchecked(openSSHPacketSize)
	}
	const everyone = 32 << 10
	return sftp.MaxPacketChecked(everyone)
}

// close ends the channel and waits for it.
func (ch *sftpChannel) close() {
	_ = ch.Close()
	_ = ch.session.Close()
	<-ch.drained
	ch.release()
}

func closeAll(open []*sftpChannel) {
	var wg sync.WaitGroup
	for _, ch := range open {
		wg.Go(ch.close)
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
func putSFTP(ctx context.Context, ch *sftpChannel, src *sourceTree, into string, report *progress) error {
	stop := context.AfterFunc(ctx, func() { _ = ch.session.Close() })
	defer stop()
	s := &sftpTree{sftpChannel: ch, src: src, into: into, report: report, sums: make([]string, len(src.entries))}
	err := s.send(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

type sftpTree struct {
	*sftpChannel
	src    *sourceTree
	into   string
	report *progress
	sums   []string
}

func (s *sftpTree) remotePath(name string) string { return path.Join(s.into, "t", name) }

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
		err := parallel(ctx, n, func(i int) error { return s.Mkdir(s.remotePath(s.src.entries[level[i]].name)) })
		if err != nil {
			return fmt.Errorf("sftp: %w", err)
		}
	}
	if err := parallel(ctx, len(rest), func(i int) error { return s.sendEntry(rest[i]) }); err != nil {
		return err
	}
	err := parallel(ctx, len(dirs), func(i int) error {
		e := s.src.entries[dirs[i]]
		if err := s.Chmod(s.remotePath(e.name), e.mode&modeBits); err != nil {
			return err
		}
		return s.Chtimes(s.remotePath(e.name), e.mtime, e.mtime)
	})
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	for _, note := range s.src.sidecars(s.sums, false) {
		if err := s.write(path.Join(s.into, note.name), strings.NewReader(note.content)); err != nil {
			return err
		}
	}
	return nil
}

// one sends a file or a link.
func (s *sftpTree) sendEntry(i int) error {
	e := s.src.entries[i]
	if e.mode&fs.ModeSymlink != 0 {
		if err := s.Symlink(e.link, s.remotePath(e.name)); err != nil {
			return fmt.Errorf("sftp: %s: %w", e.name, err)
		}
		return nil
	}
	reader, writer := io.Pipe()
	sum := sha256.New()
	read := make(chan error, 1)
	go func() {
		buffer := make([]byte, min(max(e.size, 1), copyBufferSize))
		err := copyFile(io.MultiWriter(writer, sum), s.src.fsys, e, buffer, s.report)
		_ = writer.CloseWithError(err)
		read <- err
	}()
	err := s.write(s.remotePath(e.name), reader)
	_ = reader.CloseWithError(errReceiverEnded)
	if failed := <-read; err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	s.sums[i] = hexDigest(sum)
	if err := s.Chmod(s.remotePath(e.name), e.mode&modeBits); err != nil {
		return fmt.Errorf("sftp: %s: %w", e.name, err)
	}
	if err := s.Chtimes(s.remotePath(e.name), e.mtime, e.mtime); err != nil {
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
func (ch *sftpChannel) getSFTP(ctx context.Context, from *remoteFile, into *destTree) error {
	stop := context.AfterFunc(ctx, func() { _ = ch.session.Close() })
	defer stop()
	err := ch.fetchAll(ctx, from.path, into)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (ch *sftpChannel) fetchAll(ctx context.Context, root string, into *destTree) error {
	var rest []entry
	walker := ch.Walk(root)
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
		if err := into.add(e, nil); err != nil {
			return err
		}
	}
	return parallel(ctx, len(rest), func(i int) error { return ch.fetch(rest[i], root, into) })
}

// fetch takes one file or link.
func (ch *sftpChannel) fetch(e entry, root string, into *destTree) error {
	name := path.Join(root, e.name)
	if e.mode&fs.ModeSymlink != 0 {
		target, err := ch.ReadLink(name)
		if err != nil {
			return fmt.Errorf("sftp: %s: %w", name, err)
		}
		e.link = target
		return into.add(e, nil)
	}
	if !e.mode.IsRegular() {
		return nil
	}
	file, err := ch.Open(name)
	if err != nil {
		return fmt.Errorf("sftp: %s: %w", name, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	return into.add(e, io.LimitReader(file, e.size))
}
