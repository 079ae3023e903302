package ebsdirect

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ebs"
	"golang.org/x/sync/errgroup"
)

// A Block is a block of a snapshot. One without a token is zeros that replace a block of
// an earlier snapshot.
type Block struct {
	Index Index
	token string
}

// A Listing is the blocks of a snapshot in a range.
type Listing struct {
	SizeGiB int64
	Blocks  []Block
	Next    string // continues the list; empty at its end
}

const blocksPerPage = 10000

// List returns a page of the blocks of a snapshot, from a block or a token on.
func (c *Client) List(ctx context.Context, id string, from Index, token string) (Listing, error) {
	in := &ebs.ListSnapshotBlocksInput{SnapshotId: aws.String(id), MaxResults: aws.Int32(blocksPerPage)}
	if token != "" {
		in.NextToken = aws.String(token)
	} else if from > 0 {
		in.StartingBlockIndex = aws.Int32(from)
	}
	var out *ebs.ListSnapshotBlocksOutput
	err := c.repeatExpired(ctx, func(ctx context.Context) (err error) {
		out, err = c.api.ListSnapshotBlocks(ctx, in)
		return err
	})
	if err != nil {
		return Listing{}, err
	}
	blocks := make([]Block, len(out.Blocks))
	for i, b := range out.Blocks {
		blocks[i] = Block{aws.ToInt32(b.BlockIndex), aws.ToString(b.BlockToken)}
	}
	return listing(out.VolumeSize, out.BlockSize, out.NextToken, blocks)
}

// ListChanged returns a page of the blocks of a snapshot that an earlier one does not have.
func (c *Client) ListChanged(ctx context.Context, earlier, id, token string) (Listing, error) {
	in := &ebs.ListChangedBlocksInput{FirstSnapshotId: aws.String(earlier), SecondSnapshotId: aws.String(id), MaxResults: aws.Int32(blocksPerPage)}
	if token != "" {
		in.NextToken = aws.String(token)
	}
	var out *ebs.ListChangedBlocksOutput
	err := c.repeatExpired(ctx, func(ctx context.Context) (err error) {
		out, err = c.api.ListChangedBlocks(ctx, in)
		return err
	})
	if err != nil {
		return Listing{}, err
	}
	blocks := make([]Block, len(out.ChangedBlocks))
	for i, b := range out.ChangedBlocks {
		blocks[i] = Block{aws.ToInt32(b.BlockIndex), aws.ToString(b.SecondBlockToken)}
	}
	return listing(out.VolumeSize, out.BlockSize, out.NextToken, blocks)
}

// listing returns a page whose answer is checked.
func listing(sizeGiB *int64, blockSize *int32, next *string, blocks []Block) (Listing, error) {
	l := Listing{SizeGiB: aws.ToInt64(sizeGiB), Next: aws.ToString(next), Blocks: blocks}
	if err := checkBlockSize(blockSize, l.SizeGiB); err != nil {
		return Listing{SizeGiB: l.SizeGiB, Next: l.Next}, err
	}
	return l, l.check()
}

func checkBlockSize(size *int32, sizeGiB int64) error {
	const most = 64 << 10
	if aws.ToInt32(size) != BlockSize || sizeGiB < 1 || sizeGiB > most {
		return fmt.Errorf("EBS reports blocks of %d bytes on a volume of %d GiB", aws.ToInt32(size), sizeGiB)
	}
	return nil
}

// check reports blocks that are not on the volume, or not in order.
func (l Listing) check() error {
	last := Index(-1)
	for _, b := range l.Blocks {
		if b.Index <= last || int64(b.Index) >= l.SizeGiB<<30/BlockSize {
			return fmt.Errorf("EBS lists block %d after %d on a volume of %d GiB", b.Index, last, l.SizeGiB)
		}
		last = b.Index
	}
	return nil
}

// Get reads a block and verifies its checksum.
func (c *Client) Get(ctx context.Context, id string, b Block, into []byte) error {
	return c.repeat(ctx, func(ctx context.Context) error {
		out, err := c.api.GetSnapshotBlock(ctx, &ebs.GetSnapshotBlockInput{SnapshotId: aws.String(id), BlockIndex: aws.Int32(b.Index), BlockToken: aws.String(b.token)})
		if err != nil {
			return err
		}
		_, err = io.ReadFull(out.BlockData, into[:BlockSize])
		_ = out.BlockData.Close() // already read
		if err != nil {
			return &damagedError{fmt.Sprintf("block %d of %s: %v", b.Index, id, err)}
		}
		sum := sha256.Sum256(into[:BlockSize])
		if want := aws.ToString(out.Checksum); want != base64.StdEncoding.EncodeToString(sum[:]) {
			return &damagedError{fmt.Sprintf("block %d of %s: its checksum is not %q", b.Index, id, want)}
		}
		return nil
	})
}

// A Sink receives the blocks of a download.
type Sink interface {
	// WriteBlock writes a block. It is called by several goroutines at once. Data is
	// nil for a block that has become zeros.
	WriteBlock(index Index, data []byte) error
}

// Download passes the blocks of a snapshot to a sink, or those that it does not share with
// an earlier one. It returns the size of the volume, and the number of blocks.
func (c *Client) Download(ctx context.Context, id, earlier string, sink func(sizeGiB int64) (Sink, error)) (sizeGiB int64, blocks int, err error) {
	var to Sink
	stock := newBuffers()
	defer stock.release()
	token := ""
	for {
		var page Listing
		if earlier == "" {
			page, err = c.List(ctx, id, 0, token)
		} else {
			page, err = c.ListChanged(ctx, earlier, id, token)
		}
		if err != nil {
			return 0, 0, err
		}
		if to == nil {
			if to, err = sink(page.SizeGiB); err != nil {
				return 0, 0, err
			}
		}
		group, working := errgroup.WithContext(ctx)
		group.SetLimit(MostParallel)
		for _, b := range page.Blocks {
			group.Go(func() error {
				if b.token == "" {
					return to.WriteBlock(b.Index, nil)
				}
				data := stock.get()
				defer stock.put(data)
				if err := c.Get(working, id, b, data); err != nil {
					return fmt.Errorf("read block %d of %s: %w", b.Index, id, err)
				}
				return to.WriteBlock(b.Index, data)
			})
			if working.Err() != nil {
				break
			}
		}
		if err := group.Wait(); err != nil {
			return 0, 0, err
		}
		blocks += len(page.Blocks)
		if page.Next == "" {
			return page.SizeGiB, blocks, nil
		}
		if page.Next == token {
			return 0, 0, errors.New("EBS returned the same page token twice")
		}
		token = page.Next
	}
}

// A Reader reads a snapshot's disk anywhere. It keeps the last blocks that were read.
type Reader struct {
	ctx    context.Context //nolint:containedctx // io.ReaderAt has none
	client *Client
	id     string
	size   int64

	mu    sync.Mutex
	pages []page
	held  []heldBlock // the one used last at the end
}

// page is what is known of the blocks in a range.
type page struct {
	from, to Index // without to
	blocks   []Block
}

type heldBlock struct {
	index Index
	data  []byte
}

const (
	mostPages = 16
	mostHeld  = 48 // 24 MiB
)

// NewReader returns a reader of a snapshot. Its calls end with ctx.
func (c *Client) NewReader(ctx context.Context, id string) (*Reader, error) {
	r := &Reader{ctx: ctx, client: c, id: id}
	first, err := r.load(0)
	if err != nil {
		return nil, err
	}
	r.pages = append(r.pages, first)
	return r, nil
}

// load lists the blocks from one on.
func (r *Reader) load(from Index) (page, error) {
	l, err := r.client.List(r.ctx, r.id, from, "")
	if err != nil {
		return page{}, err
	}
	r.size = l.SizeGiB << 30
	p := page{from: from, to: Index(r.size / BlockSize), blocks: l.Blocks} //nolint:gosec // at most 64 TiB
	if l.Next != "" && len(l.Blocks) > 0 {
		p.to = l.Blocks[len(l.Blocks)-1].Index + 1
	}
	return p, nil
}

// Size returns the size of the volume.
func (r *Reader) Size() int64 { return r.size }

// page returns what is known of the blocks around one.
func (r *Reader) page(index Index) (page, error) {
	for _, p := range r.pages {
		if index >= p.from && index < p.to {
			return p, nil
		}
	}
	p, err := r.load(index)
	if err != nil {
		return p, err
	}
	if len(r.pages) >= mostPages {
		r.pages = r.pages[1:]
	}
	r.pages = append(r.pages, p)
	return p, nil
}

func (p page) find(index Index) (at int, found bool) {
	return slices.BinarySearchFunc(p.blocks, index, func(b Block, index Index) int { return int(b.Index - index) })
}

// block returns the data of a block, or nil for zeros.
func (r *Reader) block(index Index) ([]byte, error) {
	if at := slices.IndexFunc(r.held, func(h heldBlock) bool { return h.index == index }); at >= 0 {
		h := r.held[at]
		r.held = append(slices.Delete(r.held, at, at+1), h)
		return h.data, nil
	}
	p, err := r.page(index)
	if err != nil {
		return nil, err
	}
	at, found := p.find(index)
	if !found {
		return nil, nil
	}
	var data []byte
	if len(r.held) >= mostHeld {
		data = r.held[0].data
		r.held = slices.Delete(r.held, 0, 1)
	} else {
		data = make([]byte, BlockSize)
	}
	if err := r.client.Get(r.ctx, r.id, p.blocks[at], data); err != nil {
		return nil, err
	}
	r.held = append(r.held, heldBlock{index, data})
	return data, nil
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(into []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < 0 {
		return 0, fmt.Errorf("negative offset %d", off)
	}
	done := 0
	for done < len(into) && off < r.size {
		data, err := r.block(Index(off / BlockSize)) //nolint:gosec // at most 64 TiB
		if err != nil {
			return done, err
		}
		part := into[done:min(len(into), done+int(BlockSize-off%BlockSize))]
		part = part[:min(int64(len(part)), r.size-off)]
		if data == nil {
			clear(part)
		} else {
			copy(part, data[off%BlockSize:])
		}
		done, off = done+len(part), off+int64(len(part))
	}
	if done < len(into) {
		return done, io.EOF
	}
	return done, nil
}

// NextData implements bake.DiskContents.
func (r *Reader) NextData(off int64) (start, end int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for off < r.size {
		index := Index(off / BlockSize) //nolint:gosec // at most 64 TiB
		p, err := r.page(index)
		if err != nil {
			return 0, 0, err
		}
		if at, _ := p.find(index); at < len(p.blocks) {
			first := p.blocks[at].Index
			last := first + 1
			for at++; at < len(p.blocks) && p.blocks[at].Index == last; at++ {
				last++
			}
			return max(off, int64(first)*BlockSize), int64(last) * BlockSize, nil
		}
		off = int64(p.to) * BlockSize
	}
	return r.size, r.size, nil
}
