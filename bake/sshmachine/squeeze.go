package sshmachine

import (
	"context"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

const (
	// On a nearer machine the link is faster than any compression.
	squeezeFromRTT  = 5 * time.Millisecond
	squeezeFromSize = 4 << 20

	// What is tried, and what must be left of it for compression to help.
	sampleSize  = 512 << 10
	squeezeMost = 0.7
)

// newCompressor returns the fastest gzip.
func newCompressor(to io.Writer) *gzip.Writer {
	w, _ := gzip.NewWriterLevel(to, gzip.BestSpeed) // the level is a valid one
	return w
}

// worthSqueezing reports whether compressing the tree saves time: the machine is
// far, the tree is not small, and a sample of it becomes clearly smaller.
func (l *link) worthSqueezing(ctx context.Context, src *source) bool {
	if src.bytes < squeezeFromSize || l.roundTrip(ctx) < squeezeFromRTT {
		return false
	}
	var out counter
	w := newCompressor(&out)
	buffer := make([]byte, copySize/8)
	none := newProgress(nil, 0)
	sampled := int64(0)
	step := max(1, len(src.entries)/64) // from all over the tree
	for i := 0; i < len(src.entries) && sampled < sampleSize; i += step {
		e := src.entries[i]
		if !e.mode.IsRegular() {
			continue
		}
		e.size = min(e.size, sampleSize/8)
		if copyFile(w, src.fsys, e, buffer, none) != nil {
			return false // sending will say what is wrong
		}
		sampled += e.size
	}
	return w.Close() == nil && sampled > 0 && float64(out) < squeezeMost*float64(sampled)
}

// counter counts what is written to it.
type counter int64

// Write counts b.
func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}
