package bake

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// do runs one stage and saves the record before and after it.
func (b *build) do(ctx context.Context, s *stage) error {
	b.currentStep.Store(&s.Name)
	defer b.currentStep.Store(nil)
	started := b.Clock.Now()
	s.record.State = StepBegun
	if s.digest != nil && b.hold != nil {
		s.record.Digest = s.digest()
	}
	err := b.save(ctx)
	if err == nil {
		err = b.attempts(ctx, s)
	}
	switch {
	case err == nil:
		s.record.State = StepDone
	case ctx.Err() != nil && b.leaving() != nil: // another process runs it again
	default:
		s.record.State, s.record.Error = StepFailed, b.recordText(err)
	}
	if saveErr := b.save(ctx); saveErr != nil {
		err = errors.Join(err, saveErr)
	}
	if err != nil {
		err = b.stepError(s.Name, err)
	}
	s.result.Err, s.result.Elapsed, s.result.Attempts = err, b.Clock.Now().Sub(started), s.record.Attempts
	b.event(Event{Kind: StepFinished, Elapsed: s.result.Elapsed, Err: causeText(err)})
	return err
}

func (b *build) stepError(step string, err error) error {
	return &Error{Image: b.img.Name, Step: b.run.Redact(step), Err: b.run.maskError(err, nil), mask: b.mask}
}

// causeText returns the text of err without image and step, which the event names.
func causeText(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Err.Error()
	}
	return errorText(err)
}

// attempts tries the stage as often as its Retry allows.
func (b *build) attempts(ctx context.Context, s *stage) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		s.record.Attempts++
		b.event(Event{Kind: StepStarted, Attempt: s.record.Attempts})
		err := b.attempt(ctx, s)
		if err == nil {
			return nil
		}
		b.settle()
		if cause := context.Cause(ctx); cause != nil {
			if errors.Is(err, cause) {
				return err
			}
			return fmt.Errorf("%w: %w", cause, err)
		}
		if _, permanent := errors.AsType[*PermanentError](err); permanent || s.record.Attempts >= max(1, s.Retry.Attempts) {
			return err
		}
		wait := s.Retry.Wait(s.record.Attempts)
		b.event(Event{Kind: StepRetried, Attempt: s.record.Attempts, Delay: wait, Err: err.Error()})
		if sleepErr := b.Clock.Sleep(ctx, wait); sleepErr != nil {
			return fmt.Errorf("%w: %w", sleepErr, err)
		}
	}
}

// attempt tries the stage once, within its timeout.
func (b *build) attempt(ctx context.Context, s *stage) error {
	limit := s.Timeout
	if limit == 0 {
		limit = b.StepTimeout
	}
	limited, stop := clock.WithTimeout(ctx, b.Clock, limit)
	defer stop()
	stopReport := b.reportLate(limited)
	err := guard(func() error { return s.Do(withRun(limited, b.run)) })
	stopReport()
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(limited), context.DeadlineExceeded) {
		return fmt.Errorf("%w after %v: %w", context.DeadlineExceeded, limit, err)
	}
	return err
}

// lateAfter is how long a step may take to stop before that is reported.
const lateAfter = 2 * time.Second

// reportLate reports a step that continues after ctx has ended: nothing can stop it.
// It returns a func that ends the watch, to be called once.
func (b *build) reportLate(ctx context.Context) (stop func()) {
	watch, stopWatch := context.WithCancel(context.WithoutCancel(ctx))
	watched := make(chan struct{})
	unregister := context.AfterFunc(ctx, func() {
		defer close(watched)
		if b.Clock.Sleep(watch, lateAfter) == nil {
			b.run.Say("waiting for the step to stop: %v", context.Cause(ctx))
		}
	})
	return func() {
		stopWatch()
		if !unregister() {
			<-watched
		}
	}
}

// guard turns a panic of f into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: fmt.Sprint(v), Stack: string(debug.Stack())}
		}
	}()
	return f()
}

// undo undoes the started stages that which selects, newest first, even if ctx has
// ended: UndoTimeout bounds each of them. It tries all and joins the errors, unless
// another process is to do it.
func (b *build) undo(ctx context.Context, outcome Outcome, which func(*stage) bool) error {
	ctx, stop := b.untilLost(ctx)
	defer stop()
	var errs []error
	for _, s := range slices.Backward(b.stages) {
		if s.record.gone() || !which(s) {
			continue
		}
		switch {
		case s.skipped:
			b.event(Event{Kind: UndoSkipped, Step: b.run.Redact(s.Name), Err: ErrUndoSkipped.Error()})
			s.record.Skipped = true
			errs = append(errs, b.stepError("undo "+s.Name, ErrUndoSkipped))
			continue
		case s.Undo == nil:
			s.record.ended(outcome)
			continue
		}
		if reason := b.leaving(); reason != nil {
			return errors.Join(append(errs, b.named(reason))...)
		}
		name := "undo " + s.Name
		b.currentStep.Store(&name)
		started := b.Clock.Now()
		err := b.hold.current(ctx)
		if err == nil {
			err = b.undoOne(ctx, s, outcome)
		}
		if err == nil {
			s.record.ended(outcome)
		} else {
			s.record.Error = b.recordText(err)
			errs = append(errs, b.stepError(name, err))
		}
		b.event(Event{Kind: UndoFinished, Elapsed: b.Clock.Now().Sub(started), Err: errorText(err)})
		b.currentStep.Store(nil)
		if err := b.save(ctx); err != nil {
			errs = append(errs, b.stepError(name, err))
		}
	}
	return errors.Join(errs...)
}

// ended marks the step as undone, or as cleaned if what it made stays.
func (s *StepRecord) ended(outcome Outcome) {
	if outcome == Succeeded && s.State == StepDone {
		s.Cleaned = true
		return
	}
	s.State = StepUndone
}

// untilLost returns a context that does not end with ctx, but when the lease is lost.
func (b *build) untilLost(ctx context.Context) (lasting context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unwatch := b.hold.watch(func() {
		if err := b.hold.lostError(); err != nil {
			cancel(err)
		}
	})
	return ctx, func() {
		unwatch()
		cancel(nil)
	}
}

// undoTries is the number of attempts at an Undo within its timeout; nothing else
// removes the resource later.
const undoTries = 3

func (b *build) undoOne(ctx context.Context, s *stage, outcome Outcome) error {
	limited, stop := clock.WithTimeout(ctx, b.Clock, b.UndoTimeout)
	defer stop()
	limited, stopHurry := hurried(limited, b.Clock)
	defer stopHurry()
	defer b.reportLate(limited)()
	for try := 1; ; try++ {
		err := guard(func() error { return s.Undo(withRun(limited, b.run), outcome) })
		if err == nil {
			return nil
		}
		if errors.Is(context.Cause(limited), context.DeadlineExceeded) {
			return fmt.Errorf("%w after %v: %w", context.DeadlineExceeded, b.UndoTimeout, err)
		}
		if errors.Is(context.Cause(limited), ErrHurried) {
			return fmt.Errorf("%w: %w", ErrHurried, err)
		}
		if try == undoTries || b.Clock.Sleep(limited, Retry{}.Wait(try)) != nil {
			return err
		}
	}
}
