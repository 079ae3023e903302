package sshmachine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sync"

	"golang.org/x/crypto/ssh"
)

const (
	// If the round-trip time is short, a tree of nearTree or more is sent by nearStreams
	// commands at once, so that some go on while another verifies its part. More parts
	// than these, of nearPart at most, cost more than that gains.
	nearTree    = 32 << 20
	nearPart    = 96 << 20
	nearStreams = 3

	// farPart is the least that is worth a session of its own if the round-trip time
	// limits each session.
	farPart = 1 << 20

	// fileWeight is what a file costs besides its content, in bytes.
	fileWeight = 4 << 10
)

// A treePart is a part of a tree that one command receives and verifies.
type treePart struct {
	number int
	files  []entry
}

// split splits a tree into parts of about the given weight. The rest, which depends on
// them, has the directories and links.
func split(entries []entry, weight int64) (parts []treePart, rest []entry) {
	left := int64(0)
	for _, e := range entries {
		if !e.mode.IsRegular() {
			rest = append(rest, e)
			continue
		}
		if left <= 0 {
			parts = append(parts, treePart{number: len(parts)})
			left = weight
		}
		last := &parts[len(parts)-1]
		last.files = append(last.files, e)
		left -= e.size + fileWeight
	}
	return parts, rest
}

// treeStreams returns how many sessions to carry the entries over, and the weight of
// each part. If they are small, there are none.
func (c *conn) treeStreams(ctx context.Context, entries []entry) (n int, weight int64) {
	total := int64(0)
	for _, e := range entries {
		total += e.size + fileWeight
	}
	if n = c.stripeCount(ctx, 0); n > 1 {
		n = int(min(int64(n), int64(cap(c.slots))-1, total/farPart)) // one is for the script of a Put
		return n, total/int64(max(n, 1)) + 1
	}
	if total < nearTree {
		return 0, total + 1
	}
	rounds := (total-1)/(nearStreams*nearPart) + 1
	return nearStreams, total/(nearStreams*rounds) + 1
}

// sendParts sends parts of the tree by commands of their own, several at once, and
// returns the entries that remain to be sent. These are all if the server permits no
// further session.
func (p *treePut) sendParts(ctx context.Context, compress bool) (rest []entry, err error) {
	n, weight := p.treeStreams(ctx, p.src.entries)
	if n < 2 {
		return p.src.entries, nil
	}
	parts, rest := split(p.src.entries, weight)
	queue := make(chan treePart, len(parts))
	for _, part := range parts {
		queue <- part
	}
	close(queue)
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for part := range queue {
				if !p.takeSlot(ctx, i == 0) { // the script has one, so that this one will come
					if ctx.Err() != nil || !p.alive() {
						fail(p.noSlotError(ctx))
					}
					mu.Lock()
					defer mu.Unlock()
					rest = append(rest, part.files...)
					return
				}
				err := p.sendPart(ctx, part, compress)
				if _, refused := errors.AsType[*ssh.OpenChannelError](err); refused {
					mu.Lock()
					defer mu.Unlock()
					rest = append(rest, part.files...)
					return
				}
				if err != nil {
					fail(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for part := range queue { // all sessions were refused
		rest = append(rest, part.files...)
	}
	return rest, context.Cause(ctx)
}

// sendPart sends a part to one command, which also verifies it, in a slot that the
// caller has taken.
func (p *treePut) sendPart(ctx context.Context, part treePart, compress bool) error {
	names, digest := fmt.Sprintf("n.%d", part.number), fmt.Sprintf("h.%d", part.number)
	dir := quote(p.into())
	a := &archive{fsys: p.src.fsys, entries: withParents(part.files), compress: compress, report: p.report}
	reader, writer := io.Pipe()
	var failed error
	var wg sync.WaitGroup
	begin := func() {
		wg.Go(func() {
			failed = a.write(writer, func(sums []string) []sidecar {
				listed, sum := digests(a.entries, sums)
				return []sidecar{{names, listed}, {digest, sum}}
			})
			_ = writer.CloseWithError(failed)
		})
	}
	input := &beginReader{Reader: reader, begin: begin}
	script := p.newScript(p.su, extractScript(dir, digest, compress)+p.scripts.verify(dir, names, digest), input)
	script.urgent = true // the transfer script does not end before this one
	err := p.runScriptInSlot(ctx, script, p.releaseSlot)
	input.once.Do(func() {}) // begin no more
	_ = reader.CloseWithError(errReceiverEnded)
	wg.Wait()
	if failed != nil && !errors.Is(failed, errReceiverEnded) {
		err = failed // the cause of err
	}
	return err
}

// A beginReader calls begin before it is read, since nothing of a part may be read and
// reported if the server refuses the session.
type beginReader struct {
	io.Reader

	once  sync.Once
	begin func()
}

// Read reads from the Reader.
func (b *beginReader) Read(p []byte) (int, error) {
	b.once.Do(b.begin)
	return b.Reader.Read(p)
}

// withParents returns files after their directories, which several commands may create
// at once. The archive that ends the transfer sets their modes and times.
func withParents(files []entry) []entry {
	made := map[string]bool{".": true}
	entries := make([]entry, 0, len(files))
	var add func(dir string)
	add = func(dir string) {
		if !made[dir] {
			made[dir] = true
			add(path.Dir(dir))
			entries = append(entries, entry{name: dir, mode: fs.ModeDir | ownerRWX})
		}
	}
	for _, e := range files {
		add(path.Dir(e.name))
		entries = append(entries, e)
	}
	return entries
}
