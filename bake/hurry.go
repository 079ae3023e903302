package bake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// ErrHurried is returned, wrapped, for a clean-up that was cut short because the caller
// hurried it; see [WithHurry].
var ErrHurried = errors.New("clean-up was hurried")

// hurryTimeout bounds each Undo of a hurried clean-up: enough to ask for a removal, not
// to wait for it.
const hurryTimeout = 5 * time.Second

type hurryKey struct{}

// WithHurry returns a context for Bake and Undo whose clean-ups hurry once the channel
// is closed, as after a second signal: each Undo, that at work included, then has five
// seconds left. None is skipped, and what stays is named by a [*LeftError]. Package
// signals uses it.
func WithHurry(ctx context.Context, hurry <-chan struct{}) context.Context {
	return context.WithValue(ctx, hurryKey{}, hurry)
}

// hurried returns a context for an Undo, which ends hurryTimeout after the clean-up is
// hurried. The caller must call stop.
func hurried(ctx context.Context, c clock.Clock) (limited context.Context, stop func()) {
	hurry, ok := ctx.Value(hurryKey{}).(<-chan struct{})
	if !ok {
		return ctx, func() {}
	}
	limited, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-hurry:
			if c.Sleep(limited, hurryTimeout) == nil {
				cancel(ErrHurried)
			}
		case <-limited.Done():
		}
	})
	return limited, func() {
		cancel(nil)
		watching.Wait()
	}
}

// A LeftError reports the resources that a build has created and could not remove.
type LeftError struct {
	Resources []Resource
}

// Error lists the resources.
func (e *LeftError) Error() string {
	texts := make([]string, 0, len(e.Resources))
	for _, r := range e.Resources {
		texts = append(texts, r.Kind+" "+r.ID)
	}
	return "left behind: " + strings.Join(texts, ", ")
}

// A resourceList holds what the steps of a build have created and not removed.
type resourceList struct {
	mu   sync.Mutex
	list []createdBy
}

type createdBy struct {
	Resource

	step string
}

func (l *resourceList) see(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Kind {
	case ResourceCreated:
		l.list = append(l.list, createdBy{e.Resource, e.Step})
	case ResourceRemoved:
		l.list = slices.DeleteFunc(l.list, func(c createdBy) bool { return c.Resource == e.Resource })
	}
}

// leftError returns a *LeftError with what the steps have created whose Undo failed, or
// nil if that is nothing. A resumed build knows only what this process has created.
func (b *build) leftError() error {
	failed := map[string]bool{}
	for _, s := range b.stages {
		failed[s.Name] = s.record.State != "" && s.record.State != StepUndone && s.record.State != StepKept
	}
	b.created.mu.Lock()
	defer b.created.mu.Unlock()
	var left []Resource
	for _, c := range b.created.list {
		if failed[c.step] {
			left = append(left, c.Resource)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &Error{Image: b.img.Name, Err: fmt.Errorf("build %s: %w", b.record.Build, &LeftError{Resources: left}), mask: b.mask}
}
