package sshmachine

import "io"

const (
	// copyBufferSize is the size of the buffers that data is copied through.
	copyBufferSize = 256 << 10

	// maxOutputBuffer is some messages of package ssh, so that a slow reader of output
	// does not answer each of them.
	maxOutputBuffer = 128 << 10

	minCopyBuffer = 1 << 10
)

// A copyBuffer is read into. It grows up to its limit while reads fill it, so that
// a stream of which little comes holds little memory.
type copyBuffer struct {
	limit int
	bytes []byte
	full  bool // the last read filled bytes
}

// read reads once. The result is valid until the next call.
func (b *copyBuffer) read(from io.Reader) ([]byte, error) {
	switch {
	case b.bytes == nil:
		b.bytes = make([]byte, minCopyBuffer)
	case b.full && len(b.bytes) < b.limit:
		b.bytes = make([]byte, min(4*len(b.bytes), b.limit))
	}
	n, err := from.Read(b.bytes)
	b.full = n == len(b.bytes)
	return b.bytes[:n], err
}
