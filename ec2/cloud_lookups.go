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

// shared deduplicates concurrent lookups by key. A result is reused for the poll
// interval. An error is returned only to the callers that waited for it.
type shared[T any] struct {
	clock clock.Clock
	life  time.Duration

	mu      sync.Mutex
	answers map[string]*answer[T]
}

type answer[T any] struct {
	asked time.Time
	done  chan struct{} // closed when the other fields are set
	given bool          // false if the asking caller's context ended
	value T
	err   error
}

func newShared[T any](o CloudOptions) *shared[T] {
	return &shared[T]{clock: o.Clock, life: o.PollInterval, answers: map[string]*answer[T]{}}
}

// get returns the answer to a question: a recent one, the result of another
// caller's current call, or the result of ask. Callers must not modify it.
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

// claim returns the existing answer, complete or not, or a new one that the caller
// must fill.
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

// fill calls ask and passes its result to the waiting callers. If ctx ends, the next
// of them calls its own ask.
func (s *shared[T]) fill(ctx context.Context, question string, a *answer[T], ask func(context.Context) (T, error)) (T, error) {
	defer func() { // even if ask panics
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

// lookups shares among the builds of a region what they look up before they create
// anything.
type lookups struct {
	sources   *shared[ec2types.Image]
	subnets   *shared[[]ec2types.Subnet]
	groups    *shared[[]string]
	types     *shared[map[string][]string] // by instance type: its architectures, or the zones that offer it
	answers   *shared[bool]                // whether the region responds, and whether resources exist
	keys      *shared[keyFacts]
	addresses *shared[netip.Addr]
	writes    *writes
}

func newLookups(o CloudOptions) lookups {
	return lookups{
		sources:   newShared[ec2types.Image](o),
		subnets:   newShared[[]ec2types.Subnet](o),
		groups:    newShared[[]string](o),
		types:     newShared[map[string][]string](o),
		answers:   newShared[bool](o),
		keys:      newShared[keyFacts](o),
		addresses: newShared[netip.Addr](o),
		writes:    new(writes),
	}
}

// writes is a middleware that counts the calls that may change which image a source
// finds, so that lookups of the account's own images are never answered with an
// older result.
type writes struct{ count atomic.Int64 }

func (*writes) ID() string { return "BakestoneWrites" }

// HandleFinalize counts the call when it has ended, successful or not.
func (w *writes) HandleFinalize(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleFinalize(ctx, in)
	action := middleware.GetOperationName(ctx)
	reads := strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get")
	if !reads && (strings.Contains(action, "Image") || strings.Contains(action, "Parameter") || strings.HasSuffix(action, "Tags")) {
		w.count.Add(1)
	}
	return out, meta, err
}

// watch adds w to a client's middleware.
func (w *writes) watch(stack *middleware.Stack) error {
	return stack.Finalize.Insert(w, "Retry", middleware.Before)
}
