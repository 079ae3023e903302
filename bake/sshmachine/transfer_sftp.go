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
	"sync/atomic"

	"github.com/bakestone-go/bakestone/internal/posixsh"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

const (
	// openSSHPacketSize is the largest request that OpenSSH's server accepts.
	// Other servers may accept only package sftp's default.
	openSSHPacketSize = 255 << 10
	requestsPerFile   = 64
)

// An sftpChannel is an SFTP client with its own session.
type sftpChannel struct {
	*sftp.Client
	session ssh.Channel
	replies *limitedReplies
	release func()
	drained chan struct{}
}

// maxListing bounds what the server may send while a tree is being listed, since
// package sftp keeps the whole list of a directory in memory.
const maxListing = 256 << 20

var errLongListing = fmt.Errorf("list of files exceeds %d MiB", maxListing>>20)

// limitedReplies reads the server's replies. While limited is set, it fails after left
// more bytes.
type limitedReplies struct {
	ssh.Channel

	limited  atomic.Bool
	left     atomic.Int64
	exceeded atomic.Bool
}

// Read reads from the channel.
func (r *limitedReplies) Read(p []byte) (int, error) {
	n, err := r.Channel.Read(p)
	if r.limited.Load() && r.left.Add(-int64(n)) < 0 {
		r.exceeded.Store(true)
		return 0, errLongListing
	}
	return n, err
}

// openSFTP opens up to n channels. It waits for a slot only for the first. If wait is
// set, it also waits until the server permits that channel's session, so the caller must
// have none open. If it opens no channel, the error says why, for example that the
// server has no SFTP. The channels outlive ctx.
func (c *conn) openSFTP(ctx context.Context, n int, wait bool) ([]*sftpChannel, error) {
	var mu sync.Mutex
	var open []*sftpChannel
	var failed error
	var wg sync.WaitGroup
	for i := range n {
		if !c.takeSlot(ctx, i == 0) {
			break
		}
		wg.Go(func() {
			ch, err := c.newChannel(wait && i == 0)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				c.releaseSlot()
				failed = err
				return
			}
			open = append(open, ch)
		})
	}
	wg.Wait()
	if len(open) > 0 {
		return open, nil
	}
	if failed == nil {
		failed = c.noSlotError(ctx)
	}
	return nil, failed
}

func (c *conn) newChannel(wait bool) (*sftpChannel, error) {
	session, requests, err := c.openSession(wait)
	if err != nil {
		return nil, c.startError(err)
	}
	ch := &sftpChannel{session: session, replies: &limitedReplies{Channel: session}, release: c.releaseSlot, drained: make(chan struct{})}
	go func() { // close waits for it
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
		return fail(errors.Join(errors.New("server has no SFTP subsystem"), err))
	}
	ch.Client, err = sftp.NewClientPipe(ch.replies, session,
		sftp.UseConcurrentWrites(true), sftp.MaxConcurrentRequestsPerFile(requestsPerFile), packetSize(c.client))
	if err != nil {
		return fail(fmt.Errorf("sftp: %w", err))
	}
	return ch, nil
}

// packetSize returns the option for the largest requests that the server is known
// to accept.
func packetSize(client *ssh.Client) sftp.ClientOption {
	if strings.HasPrefix(string(client.ServerVersion()), "SSH-2.0-OpenSSH") {
		return sftp.MaxPacketUnchecked(openSSHPacketSize)
	}
	return sftp.MaxPacketChecked(32 << 10)
}

// close closes the channel and releases its slot.
func (ch *sftpChannel) close() {
	_ = ch.Close()
	_ = ch.session.Close()
	<-ch.drained
	ch.release()
}

// closeWhenDone closes the sessions once ctx ends, since SFTP requests have no
// context, unless stop is called before.
func closeWhenDone(ctx context.Context, open ...*sftpChannel) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		for _, ch := range open {
			_ = ch.session.Close()
		}
	})
}

func closeAll(open []*sftpChannel) {
	var wg sync.WaitGroup
	for _, ch := range open {
		wg.Go(ch.close)
	}
	wg.Wait()
}

// filesAtOnce is the number of files in progress over one SFTP channel. Each takes
// several round trips.
const filesAtOnce = 64

// parallel calls f for each index below n, up to filesAtOnce at once, until a call
// fails or ctx ends.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for i := 0; i < n && groupCtx.Err() == nil; i++ {
		group.Go(func() error { return f(i) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// putTree sends a tree, many files at once, into the subdirectory "t" of into, and its
// sidecars beside that.
func (ch *sftpChannel) putTree(ctx context.Context, src *sourceTree, into string, report *progress) error {
	defer closeWhenDone(ctx, ch)()
	s := &sftpTree{sftpChannel: ch, src: src, into: into, report: report, sums: make([]string, len(src.entries))}
	err := s.send(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// An sftpTree is a tree being sent.
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
		if err := s.Chmod(s.remotePath(e.name), e.mode&posixsh.ModeBits); err != nil {
			return err
		}
		return s.Chtimes(s.remotePath(e.name), e.mtime, e.mtime)
	})
	if err != nil {
		return fmt.Errorf("sftp: %w", err)
	}
	for _, f := range s.src.sidecars(s.src.entries, s.sums, false) {
		if err := s.write(path.Join(s.into, f.name), strings.NewReader(f.content)); err != nil {
			return err
		}
	}
	return nil
}

// sendEntry sends a file or a link.
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
	if err := s.Chmod(s.remotePath(e.name), e.mode&posixsh.ModeBits); err != nil {
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

// getTree fetches a tree, many files at once. SFTP runs as the login, so it cannot
// read as root.
func (ch *sftpChannel) getTree(ctx context.Context, from *remoteFile, into *destTree) error {
	defer closeWhenDone(ctx, ch)()
	err := ch.fetchAll(ctx, from.path, into)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (ch *sftpChannel) fetchAll(ctx context.Context, root string, into *destTree) error {
	rest, err := ch.list(root, into)
	if ch.replies.exceeded.Load() {
		return errLongListing
	}
	if err != nil {
		return err
	}
	return parallel(ctx, len(rest), func(i int) error { return ch.fetch(rest[i], root, into) })
}

// list creates the tree's directories and returns its other entries.
func (ch *sftpChannel) list(root string, into *destTree) ([]entry, error) {
	ch.replies.left.Store(maxListing)
	ch.replies.limited.Store(true)
	defer ch.replies.limited.Store(false)
	var rest []entry
	names := 0
	listed := map[string]bool{} // directories, which a hostile server could list for ever
	walker := ch.Walk(root)
	for walker.Step() {
		if err := walker.Err(); err != nil {
			return nil, fmt.Errorf("sftp: %w", err)
		}
		info := walker.Stat()
		name, below := strings.CutPrefix(walker.Path(), strings.TrimSuffix(root, "/")+"/")
		switch {
		case walker.Path() == root && !listed["."]:
			name = "."
		case !below || listed[name]: // named ".." or "."
			return nil, fmt.Errorf("sftp: server listed %.200q in its own subdirectory", walker.Path())
		}
		if info.IsDir() {
			listed[name] = true
		}
		if name != "." && into.ex.Match(name) {
			if info.IsDir() {
				walker.SkipDir()
			}
			continue
		}
		e := entry{name: name, mode: info.Mode(), size: info.Size(), mtime: info.ModTime()}
		switch names += len(name); {
		case len(rest) >= maxEntries:
			return nil, errManyEntries
		case names > maxNames:
			return nil, errManyNames
		}
		if !info.IsDir() {
			rest = append(rest, e)
			continue
		}
		if err := into.add(e, nil); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// fetch fetches a file or a link.
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
	defer func() { _ = file.Close() }() // read only
	return into.add(e, io.LimitReader(file, e.size))
}
