package report

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/amount"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// A Recorder keeps the events of a run for a [Report]. The zero value is ready to use.
// Its methods may be called from any goroutine.
type Recorder struct {
	// Lines limits the lines that are kept of each step: the first and the last half of
	// them, each up to 4 KiB. Zero means 400.
	Lines int

	mu     sync.Mutex
	images []*image
	byName map[string]*image
}

const (
	defaultLines = 400
	maxText      = 4 << 10 // bytes of a line
)

// An image is an Image with what is needed while it is recorded.
type image struct {
	Image
	moved amount.Moved // by the running step
}

// Observe records e. Use it as [bake.Options.Observe], or call it from there.
func (r *Recorder) Observe(e bake.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.byName[e.Image]
	if i == nil {
		if r.byName == nil {
			r.byName = map[string]*image{}
		}
		i = &image{Image: Image{Name: e.Image, Started: e.Time}}
		r.images, r.byName[e.Image] = append(r.images, i), i
	}
	i.Build, i.Finished = e.Build, e.Time
	i.record(&e, r.limit())
}

func (r *Recorder) limit() int {
	if r.Lines > 0 {
		return r.Lines
	}
	return defaultLines
}

func (i *image) record(e *bake.Event, limit int) {
	line := Line{Time: e.Time, Kind: e.Kind, Text: e.Text}
	switch e.Kind {
	case bake.StepStarted:
		i.moved = amount.Moved{}
		if e.Attempt > 1 {
			i.step(e).Attempts = e.Attempt
			return
		}
		i.Steps = append(i.Steps, Step{Name: e.Step, Started: e.Time, Attempts: 1})
	case bake.StepFinished:
		s := i.step(e)
		s.Elapsed, s.Err = e.Elapsed, e.Err
	case bake.UndoFinished:
		i.Steps = append(i.Steps, Step{Name: e.Step, Undo: true, Started: e.Time.Add(-e.Elapsed), Elapsed: e.Elapsed, Err: e.Err})
	case bake.BytesMoved:
		i.step(e).Bytes += i.moved.Add(e.Text, e.Done)
	case bake.APICalled:
		i.called(e)
	case bake.ResourceCreated:
		i.Resources = append(i.Resources, e.Resource)
	case bake.ResourceRemoved:
		i.Resources = slices.DeleteFunc(i.Resources, func(r bake.Resource) bool { return r == e.Resource })
	case bake.MachineKept:
		i.Kept = e.Text
	case bake.BuildFinished:
		i.Status, i.Artifact, i.Err = e.Status, e.Text, strings.TrimPrefix(e.Err, "image "+e.Image+": ")
	case bake.StepRetried:
		line.Text = fmt.Sprintf("attempt %d failed: %s; next in %s", e.Attempt, e.Err, e.Delay.Round(time.Second/10))
		i.step(e).add(line, limit)
	case bake.BuildResumed, bake.BuildRestarted:
		line.Text = string(e.Kind) + " at " + e.Step
		i.step(e).add(line, limit)
	case bake.BuildQueued:
		line.Text = fmt.Sprintf("waits as number %d: %s", e.Queue, e.Text)
		i.step(e).add(line, limit)
	case bake.OutputLine:
		line.Err = e.Stream == bake.Stderr
		i.step(e).add(line, limit)
	case bake.Message, bake.BuildPaused, bake.CommandStarted:
		i.step(e).add(line, limit)
	}
}

func (i *image) called(e *bake.Event) {
	at, found := slices.BinarySearchFunc(i.Calls, e.Text, func(c Calls, action string) int { return strings.Compare(c.Action, action) })
	if !found {
		i.Calls = slices.Insert(i.Calls, at, Calls{Action: e.Text})
	}
	c := &i.Calls[at]
	c.Count++
	c.Elapsed += e.Elapsed
	if e.Err != "" {
		c.Failed++
	}
}

// step returns the newest step that e names, which it adds if it has not started:
// events of a resumed build may come first.
func (i *image) step(e *bake.Event) *Step {
	for n := len(i.Steps) - 1; n >= 0; n-- {
		if s := &i.Steps[n]; s.Name == e.Step && !s.Undo {
			return s
		}
	}
	i.Steps = append(i.Steps, Step{Name: e.Step, Started: e.Time})
	return &i.Steps[len(i.Steps)-1]
}

// add adds a line. Beyond the limit it drops the oldest line of the second half.
func (s *Step) add(l Line, limit int) {
	l.Text = visible.Shorten(visible.Text(l.Text), maxText) // it is raw with bake.Options.RawOutput
	if len(s.Lines) < limit {
		s.Lines = append(s.Lines, l)
		return
	}
	s.Omitted++
	if half := limit / 2; half < limit {
		copy(s.Lines[half:], s.Lines[half+1:])
		s.Lines[limit-1] = l
	}
}

// Report returns what was recorded until now. The results of the run, if they are
// given, add the images' order, sources and ids.
func (r *Recorder) Report(results []*bake.Result) *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := &Report{Version: Version}
	done := map[string]bool{}
	for _, result := range results {
		i := Image{Name: result.Image.Name, Started: result.Started, Finished: result.Finished}
		if recorded := r.byName[i.Name]; recorded != nil {
			i = recorded.copied()
		}
		i.addResult(result)
		report.Images, done[i.Name] = append(report.Images, i), true
	}
	for _, recorded := range r.images {
		if !done[recorded.Name] {
			report.Images = append(report.Images, recorded.copied())
		}
	}
	report.complete()
	return report
}

// copied returns a copy that later events do not change.
func (i *image) copied() Image {
	c := i.Image
	c.Resources, c.Calls = slices.Clone(c.Resources), slices.Clone(c.Calls)
	c.Steps = slices.Clone(c.Steps)
	for n := range c.Steps {
		c.Steps[n].Lines = slices.Clone(c.Steps[n].Lines)
	}
	return c
}

func (i *Image) addResult(r *bake.Result) {
	i.Build, i.Status = r.Build, r.Status
	if from := r.Image.From; from != nil {
		i.From = from.Name
	}
	switch {
	case r.Status == bake.StatusReused:
		i.Reuse = "reused: the artifact has the same fingerprint"
	case r.Image.Fingerprint == "":
		i.Reuse = "not reused: the image has no fingerprint"
	case r.Status == bake.StatusBaked || len(i.Steps) > 1:
		i.Reuse = "not reused: no artifact has this fingerprint"
	}
	if r.Artifact != nil {
		i.Artifact, i.IDs = r.Artifact.String(), r.Artifact.IDs()
	}
	if r.Err != nil && i.Err == "" {
		i.Err = r.Err.Error()
	}
	if r.Kept != nil {
		i.Kept = r.Kept.String()
	}
}

// complete sets the times of the run and marks its critical images.
func (r *Report) complete() {
	var last *Image
	byName := map[string]*Image{}
	for n := range r.Images {
		i := &r.Images[n]
		byName[i.Name] = i
		if !i.Started.IsZero() && (r.Started.IsZero() || i.Started.Before(r.Started)) {
			r.Started = i.Started
		}
		if last == nil || i.Finished.After(last.Finished) {
			last = i
		}
	}
	if last == nil {
		return
	}
	r.Finished = last.Finished
	for i := last; i != nil && !i.Critical; i = byName[i.From] {
		i.Critical = true
	}
}
