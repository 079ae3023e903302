// Package memory measures what tests and benchmarks take.
package memory

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

// Peak returns the most bytes that the heap and the stacks took while do ran,
// beyond what they took before. It includes garbage that is not yet collected.
func Peak(do func()) uint64 {
	read := func() uint64 {
		samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
		metrics.Read(samples)
		return samples[0].Value.Uint64() + samples[1].Value.Uint64()
	}
	runtime.GC()
	before := read()
	most := before
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			most = max(most, read())
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	do()
	close(done)
	wg.Wait()
	return most - before
}
