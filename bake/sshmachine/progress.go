package sshmachine

import (
	"sync"
	"time"
)

// reportEvery is the least time between two reports of progress.
const reportEvery = 100 * time.Millisecond

// progress counts bytes and reports them now and then. It may be used by
// several goroutines at once.
type progress struct {
	report func(done, total int64)
	total  int64

	mu   sync.Mutex
	done int64
	last time.Time
	said int64
}

func newProgress(report func(done, total int64), total int64) *progress {
	return &progress{report: report, total: total, said: -1}
}

// add counts n more bytes.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(n)
	if now := time.Now(); p.report != nil && now.Sub(p.last) >= reportEvery {
		p.last = now
		p.say()
	}
}

// finish reports the end, if that was not said yet.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil && p.said != p.done {
		p.say()
	}
}

func (p *progress) say() {
	p.said = p.done
	p.report(p.done, p.total)
}

// Write counts what is written, for io.MultiWriter and io.TeeReader.
func (p *progress) Write(b []byte) (int, error) {
	p.add(len(b))
	return len(b), nil
}
