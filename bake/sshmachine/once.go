package sshmachine

import (
	"context"
	"sync"
)

// once keeps the first answer that is not an error.
type once[T any] struct {
	mu    sync.Mutex
	turn  chan struct{}
	known bool
	value T
}

// get returns the answer, and asks for it when there is none yet. Only one
// caller asks at a time.
func (o *once[T]) get(ctx context.Context, ask func() (T, error)) (T, error) {
	o.mu.Lock()
	if o.turn == nil {
		o.turn = make(chan struct{}, 1)
	}
	turn := o.turn
	o.mu.Unlock()
	var none T
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	if o.known {
		return o.value, nil
	}
	value, err := ask()
	if err != nil {
		return none, err
	}
	o.known, o.value = true, value
	return value, nil
}
