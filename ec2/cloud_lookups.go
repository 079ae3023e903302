package ec2

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A shared answers the same question of many bakes at about the same time with
// one request. An answer is good for as long as an answer of a poller would be;
// an error is for those who waited for it alone.
type shared[T any] struct {
	clock clock.Clock
	life  time.Duration

	mu      sync.Mutex
	answers map[string]*answer[T]
}

type answer[T any] struct {
	asked time.Time
	done  chan struct{} // closed when the rest is set
	given bool          // false when whoever asked gave up
	value T
	err   error
}

func newShared[T any](o CloudOptions) *shared[T] {
	return &shared[T]{clock: o.Clock, life: o.PollInterval, answers: map[string]*answer[T]{}}
}

// get returns the answer to a question: what another bake was or will be told,
// or that of ask. What it returns is shared and must not be changed.
func (s *shared[T]) get(ctx context.Context, question string, ask func(context.Context) (T, error)) (T, error) {
	for {
		a, mine := s.claim(question)
		if mine {
			return s.fill(ctx, question, a, ask)
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
		if a.given {
			return a.value, a.err
		}
	}
}

// claim returns the answer that there is or will be, or a new one that is the
// caller's to fill.
func (s *shared[T]) claim(question string) (a *answer[T], mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	for other, a := range s.answers {
		if now.Sub(a.asked) >= s.life {
			delete(s.answers, other)
		}
	}
	if a := s.answers[question]; a != nil {
		return a, false
	}
	a = &answer[T]{asked: now, done: make(chan struct{})}
	s.answers[question] = a
	return a, true
}

// fill asks, and tells those who wait. When the asker's own context ends, the
// next of them asks again.
func (s *shared[T]) fill(ctx context.Context, question string, a *answer[T], ask func(context.Context) (T, error)) (T, error) {
	defer func() { // also when ask panics
		s.mu.Lock()
		defer s.mu.Unlock()
		if (a.err != nil || !a.given) && s.answers[question] == a {
			delete(s.answers, question)
		}
		close(a.done)
	}()
	value, err := ask(ctx)
	a.value, a.err, a.given = value, err, ctx.Err() == nil
	return value, err
}

// lookups are what the bakes of a region look up before they create anything.
type lookups struct {
	sources   *shared[ec2types.Image]
	subnets   *shared[[]ec2types.Subnet]
	groups    *shared[[]string]
	answers   *shared[bool]   // whether the region answers, and whether things exist in it
	keys      *shared[string] // why a KMS key cannot be used
	addresses *shared[netip.Addr]
	writes    *writes
}

func newLookups(o CloudOptions) lookups {
	return lookups{
		sources:   newShared[ec2types.Image](o),
		subnets:   newShared[[]ec2types.Subnet](o),
		groups:    newShared[[]string](o),
		answers:   newShared[bool](o),
		keys:      newShared[string](o),
		addresses: newShared[netip.Addr](o),
		writes:    new(writes),
	}
}

// writes counts the calls of a region's clients that may change which image a
// source finds, so that a source of the account's own is never answered with
// what was true before one of them.
type writes struct{ count atomic.Int64 }

func (*writes) ID() string { return "BakestoneWrites" }

// HandleFinalize counts the call when it is over, whatever came of it.
func (w *writes) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleFinalize(ctx, in)
	action := middleware.GetOperationName(ctx)
	reads := strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get")
	if !reads && (strings.Contains(action, "Image") || strings.Contains(action, "Parameter") || strings.HasSuffix(action, "Tags")) {
		w.count.Add(1)
	}
	return out, meta, err
}

// watch has every call of a stack counted.
func (w *writes) watch(stack *middleware.Stack) error {
	return stack.Finalize.Insert(w, "Retry", middleware.Before)
}
