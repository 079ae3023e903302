package bake

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/internal/amount"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// Progress returns an observer for Options.Observe that prints events for a person:
// the time since the first event, the image, and what happened. If writing to w
// fails, it stops printing; the build continues.
//
// It changes text in which GitHub, GitLab, Azure Pipelines or TeamCity would find a
// command, "::error::" or "##vso[", since a machine may have printed it.
func Progress(w io.Writer) func(Event) {
	p := &progress{w: w}
	return p.write
}

type progress struct {
	mu    sync.Mutex
	w     io.Writer
	first time.Time
	width int // of the image column
	dead  bool
}

func (p *progress) write(e Event) {
	e = e.clean(nil, true) // raw lines are there only with Options.RawOutput
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return
	}
	if p.first.IsZero() {
		p.first = e.Time
	}
	text := progressText(e)
	if text == "" {
		return
	}
	p.width = max(p.width, len(e.Image))
	at := e.Time.Sub(p.first).Round(time.Second)
	stamp := fmt.Sprintf("%02d:%02d:%02d", int(at.Hours()), int(at.Minutes())%60, int(at.Seconds())%60)
	for line := range strings.Lines(text) {
		line = visible.Disarm(strings.TrimRight(line, "\n"))
		if _, err := fmt.Fprintf(p.w, "%s  %-*s  %s\n", stamp, p.width, e.Image, line); err != nil {
			p.dead = true
			return
		}
	}
}

// progressText returns the text to print for e, or "".
func progressText(e Event) string {
	failed := ""
	if e.Err != "" {
		failed = " failed: " + e.Err
	}
	switch e.Kind {
	case StepStarted:
		if e.Attempt > 1 {
			return fmt.Sprintf("%s (attempt %d)", e.Step, e.Attempt)
		}
		return e.Step
	case StepFinished:
		if failed == "" && e.Elapsed < time.Second {
			return ""
		}
		return fmt.Sprintf("%s: %s%s", e.Step, amount.Duration(e.Elapsed), failed)
	case StepRetried:
		return fmt.Sprintf("%s%s; next attempt in %s", e.Step, failed, amount.Duration(e.Delay))
	case BuildQueued:
		return fmt.Sprintf("waits as number %d: %s", e.Queue, e.Text)
	case BuildResumed:
		if e.Step == "" {
			return "resumed after its last step"
		}
		return fmt.Sprintf("resumed at %q", e.Step)
	case BuildRestarted:
		return fmt.Sprintf("the platform reclaimed the machine; starting again at %q%s", e.Step, failed)
	case UndoFinished:
		if failed == "" {
			return ""
		}
		return e.Step + failed
	case OutputLine:
		return "  | " + e.Text
	case BytesMoved:
		const worthTelling = 1 << 20
		if max(e.Done, e.Total) < worthTelling {
			return ""
		}
		if e.Total == 0 {
			return fmt.Sprintf("  %s: %s", e.Text, amount.Bytes(e.Done))
		}
		return fmt.Sprintf("  %s: %s of %s", e.Text, amount.Bytes(e.Done), amount.Bytes(e.Total))
	case Progressed:
		return fmt.Sprintf("  %s %s: %d%%", e.Resource.Kind, e.Resource.ID, 100*e.Done/max(1, e.Total))
	case ResourceCreated:
		return fmt.Sprintf("  + %s %s", e.Resource.Kind, e.Resource.ID)
	case ResourceRemoved:
		return fmt.Sprintf("  - %s %s", e.Resource.Kind, e.Resource.ID)
	case Message, MachineKept:
		return "  " + e.Text
	case BuildFinished:
		what := string(e.Status)
		if e.Text != "" {
			what += " " + e.Text
		}
		if e.Err != "" {
			what += ": " + e.Err
		}
		return fmt.Sprintf("%s (%s)", what, amount.Duration(e.Elapsed))
	default: // the next event has more, or it is a detail
		return ""
	}
}
