package testenv

import (
	"bytes"
	"regexp"
	"runtime"
)

var bubble = regexp.MustCompile(`synctest bubble \d+\]`)

// BubbleGoroutines returns the number of goroutines in the caller's bubble of
// testing/synctest. [runtime.NumGoroutine] also counts those of the runtime, which come
// and go.
func BubbleGoroutines() int {
	stacks := make([]byte, 1<<20)
	for {
		n := runtime.Stack(stacks, true)
		if n < len(stacks) {
			stacks = stacks[:n]
			break
		}
		stacks = make([]byte, 2*len(stacks))
	}
	own := bubble.Find(stacks) // the caller's stack is the first
	if own == nil {
		panic("testenv: not in a bubble")
	}
	return bytes.Count(stacks, own)
}
