package ebsdirect

import "sync"

// buffers are the blocks that are sent or received at once, and one more that is read
// meanwhile. They are outside the heap where the system allows it: the garbage collector
// lets a heap grow to twice what it needs.
type buffers struct {
	release func()

	mu   sync.Mutex
	free [][]byte // the one that was used last at the end, so that few are ever touched
}

func newBuffers() *buffers {
	const count = MostParallel + 1
	memory, release := allocate(count * BlockSize)
	b := &buffers{release: release}
	for i := range count {
		b.free = append(b.free, memory[i*BlockSize:][:BlockSize:BlockSize])
	}
	return b
}

// get returns a block, of which there is always one for each user.
func (b *buffers) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.free) - 1
	data := b.free[last]
	b.free = b.free[:last]
	return data
}

func (b *buffers) put(data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, data)
}
