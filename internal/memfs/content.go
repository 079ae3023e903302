package memfs

// blockSize is how much of a file is copied when a shared byte changes.
const blockSize = 64 << 10

// A block is a piece of a file. Its data may be shorter than blockSize, the
// rest being zeros; a nil block is all zeros.
type block struct {
	owner *owner
	data  []byte
}

// content holds the bytes of a regular file. Clones share its blocks.
type content struct {
	blocks []*block
	size   int64
	held   int64 // the bytes its blocks occupy
}

// blockCost is what a block costs besides its data.
const blockCost = 64

// share returns a copy with a new list of the same blocks.
func (c content) share() content {
	return content{blocks: append([]*block(nil), c.blocks...), size: c.size, held: c.held}
}

// readAt copies up to len(p) bytes and returns how many there were.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	done := 0
	for done < len(p) {
		at := off + int64(done)
		i, from := int(at/blockSize), int(at%blockSize)
		piece := p[done:min(len(p), done+blockSize-from)]
		n := 0
		if i < len(c.blocks) && c.blocks[i] != nil && from < len(c.blocks[i].data) {
			n = copy(piece, c.blocks[i].data[from:])
		}
		clear(piece[n:])
		done += len(piece)
	}
	return done
}

// growth returns the bytes that writing n bytes at off would add to held.
func (c *content) growth(n int, off int64) int64 {
	if n == 0 {
		return 0
	}
	end := off + int64(n)
	last := (end - 1) / blockSize
	grows := max(0, last+1-int64(len(c.blocks))) * blockCost
	for i := off / blockSize; i <= last; i++ {
		have := 0
		if i < int64(len(c.blocks)) && c.blocks[i] != nil {
			have = len(c.blocks[i].data)
		}
		grows += max(0, min(blockSize, end-i*blockSize)-int64(have))
	}
	return grows
}

func (c *content) writeAt(p []byte, off int64, by *owner) {
	if len(p) == 0 {
		return
	}
	for done := 0; done < len(p); {
		at := off + int64(done)
		i, from := int(at/blockSize), int(at%blockSize)
		n := min(len(p)-done, blockSize-from)
		copy(c.writableBlock(i, from+n, by)[from:], p[done:done+n])
		done += n
	}
	c.size = max(c.size, off+int64(len(p)))
}

// writableBlock returns the data of block i for writing, extended to length.
func (c *content) writableBlock(i, length int, by *owner) []byte {
	for len(c.blocks) <= i {
		c.blocks = append(c.blocks, nil)
		c.held += blockCost
	}
	b := c.blocks[i]
	if b == nil {
		b = &block{owner: by}
		c.blocks[i] = b
	} else if b.owner != by {
		b = &block{owner: by, data: append(make([]byte, 0, max(length, len(b.data))), b.data...)}
		c.blocks[i] = b
	}
	if have := len(b.data); have < length {
		if cap(b.data) < length {
			room := length
			if have > 0 {
				room = min(blockSize, max(length, 2*have))
			}
			b.data = append(make([]byte, 0, room), b.data...)
		}
		b.data = b.data[:length]
		clear(b.data[have:])
		c.held += int64(length - have)
	}
	return b.data
}

func (c *content) truncate(size int64, by *owner) {
	if size < c.size {
		keep := int((size + blockSize - 1) / blockSize)
		if keep < len(c.blocks) {
			for _, b := range c.blocks[keep:] {
				c.held -= blockCost
				if b != nil {
					c.held -= int64(len(b.data))
				}
			}
			clear(c.blocks[keep:])
			c.blocks = c.blocks[:keep]
		}
		if rest := int(size % blockSize); rest > 0 && keep <= len(c.blocks) && c.blocks[keep-1] != nil &&
			len(c.blocks[keep-1].data) > rest {
			last := c.writableBlock(keep-1, 0, by)
			clear(last[rest:])
			c.held -= int64(len(last) - rest)
			c.blocks[keep-1].data = last[:rest]
		}
	}
	c.size = size
}
