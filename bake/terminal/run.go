package terminal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/amount"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// A run is the state of a run of Bake.
type run struct {
	images  int       // of the run, or 0 if unknown
	first   time.Time // of the first event
	names   int       // columns of the longest name in plain lines
	current []*image  // running, in the order they started
	byName  map[string]*image
	took    map[string]time.Duration // by step, the last time
	groups  map[string]*group        // of running images, unless nil
	ended   map[bake.Status]int
	scroll  []notice // to print above the drawing
}

// A notice tells of something that happened to an image.
type notice struct {
	mark  string // a character that may be colored
	image string
	text  string   // cut to the width of the terminal
	lines []string // of an error
}

// An image is a running build.
type image struct {
	name    string
	started time.Time
	step    string
	since   time.Time // when the step started
	attempt int
	undoing bool
	what    string // what done and total count: bytes of a file, or percent
	done    int64
	total   int64
	lines   []string // the last lines of output
}

// keptLines is the number of lines of output shown below an image.
const keptLines = 3

// image returns the image of e, which it adds if it is new.
func (r *run) image(e *bake.Event) *image {
	i := r.byName[e.Image]
	if i == nil {
		i = &image{name: flat(e.Image), started: e.Time, since: e.Time}
		r.byName[e.Image] = i
		r.current = append(r.current, i)
	}
	return i
}

// observe updates r.
func (r *run) observe(e *bake.Event, s style) {
	if r.first.IsZero() {
		r.first = e.Time
	}
	if e.Kind == bake.BuildFinished {
		r.finish(e, s)
		return
	}
	i := r.image(e)
	switch e.Kind {
	case bake.StepStarted:
		i.begin(e.Step, e.Time, e.Attempt)
	case bake.BuildQueued:
		i.begin(fmt.Sprintf("waits as number %d: %s", e.Queue, e.Text), e.Time, 1)
	case bake.StepFinished:
		if e.Err == "" {
			r.took[e.Step] = e.Elapsed
			return
		}
		i.begin("cleaning up", e.Time, 1)
		i.undoing = true
	case bake.StepRetried:
		r.notify(s.warn("↻"), e, e.Step+fmt.Sprintf(": attempt %d failed; next in %s", e.Attempt, amount.Duration(e.Delay)))
	case bake.BuildRestarted:
		r.notify(s.warn("↻"), e, "the platform reclaimed the machine; starting again at "+e.Step)
	case bake.UndoFinished:
		if e.Err != "" {
			r.notify(s.bad("✗"), e, e.Step+" failed")
		}
	case bake.OutputLine:
		i.add(e.Text)
	case bake.Message:
		if e.Err != "" {
			warning := *e
			warning.Err = "" // it is in the text
			r.notify(s.warn("!"), &warning, e.Text)
			return
		}
		i.add(e.Text)
	case bake.CommandStarted: // what was sent before does not tell how far it is
		i.what, i.done, i.total = "", 0, 0
	case bake.BytesMoved, bake.Progressed:
		i.what, i.done, i.total = e.Text, e.Done, e.Total
	case bake.ResourceRemoved:
		if i.undoing {
			i.step = "cleaning up: removed " + e.Resource.Kind + " " + e.Resource.ID
		}
	case bake.BuildPaused, bake.MachineKept:
		r.notify(s.warn("!"), e, string(e.Kind))
		last := &r.scroll[len(r.scroll)-1]
		last.lines = lines(e.Text)
	}
}

// add adds a line of output.
func (i *image) add(line string) {
	i.lines = append(i.lines, visible.Disarm(visible.Text(visible.Shorten(line, longestLine))))
	i.lines = i.lines[max(0, len(i.lines)-keptLines):]
}

func (i *image) begin(step string, at time.Time, attempt int) {
	i.step, i.since, i.attempt, i.undoing = step, at, attempt, false
	i.what, i.done, i.total, i.lines = "", 0, 0, nil
}

// finish removes the image and tells how it ended.
func (r *run) finish(e *bake.Event, s style) {
	if i := r.byName[e.Image]; i != nil {
		delete(r.byName, e.Image)
		r.current = slices.DeleteFunc(r.current, func(c *image) bool { return c == i })
	}
	r.ended[e.Status]++
	text := string(e.Status)
	if e.Elapsed > 0 {
		text += " in " + amount.Duration(e.Elapsed)
	}
	if e.Text != "" {
		text += "  " + e.Text
	}
	ended := *e
	if e.Err != "" && (e.Status == bake.StatusCanceled || e.Status == bake.StatusSkipped) {
		// The cause is that of many images, and failed undos were shown.
		cause, _, _ := strings.Cut(cause(e), "\n")
		text, ended.Err = text+": "+cause, ""
	}
	r.notify(s.mark(e.Status), &ended, text)
}

// cause returns the event's error without the name of the image.
func cause(e *bake.Event) string {
	return strings.TrimPrefix(visible.Text(e.Err), "image "+e.Image+": ")
}

// maxErrLines is how many lines of an error are printed.
const maxErrLines = 30

// longestLine is more than any terminal has room for, in bytes.
const longestLine = 2000

// notify prints a notice, with the event's error if it has one.
func (r *run) notify(mark string, e *bake.Event, text string) {
	n := notice{mark: mark, image: flat(e.Image), text: flat(text)}
	if e.Err != "" {
		n.lines = lines(cause(e)) // the line above has the name
	}
	r.scroll = append(r.scroll, n)
}

// lines returns the lines of a text that scrolls away.
func lines(text string) []string {
	all := strings.Split(strings.TrimRight(visible.Text(text), "\n"), "\n")
	for l, line := range all {
		all[l] = visible.Disarm(visible.Shorten(line, longestLine))
	}
	if more := len(all) - maxErrLines; more > 0 {
		all = append(all[:maxErrLines:maxErrLines], fmt.Sprintf("… %d more lines", more))
	}
	return all
}
