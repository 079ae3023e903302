package terminal

import (
	"cmp"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// Options configures a View. A nil *Options is the same as the zero value.
type Options struct {
	// Images is the number of images of the run, if it is known. The first line of the
	// drawing then tells how many are left.
	Images int

	// Plain prints plain lines even on a terminal.
	Plain bool

	// Groups keeps the output of each image, up to 256 KiB of it, until its build ends, and
	// prints it as a group that GitHub Actions folds. It applies to plain lines.
	Groups bool

	// RawOutput prints the output of machines with its escape sequences, if they are in
	// the events; see [bake.Options.RawOutput]. It applies to plain lines.
	RawOutput bool

	// Size returns the numbers of columns and rows. If it is set, the writer is taken
	// for a terminal of that size. By default a writer with an Fd method, such as an
	// *os.File, is asked.
	Size func() (columns, rows int)

	// Clock tells time, and must be that of [bake.Options]. If nil, the system clock is
	// used.
	Clock clock.Clock
}

// A View shows a run. It writes to its writer until Close; nothing else should.
type View struct {
	w     io.Writer
	size  func() (columns, rows int) // nil for plain lines
	style style
	raw   bool
	clock clock.Clock

	mu            sync.Mutex // guards the fields below
	run           run
	changed       bool  // since it was drawn
	columns, rows int   // of the terminal
	ticks         int   // since it was drawn
	steady        int   // ticks since it was resized
	steps         int   // columns of the longest step that was drawn
	err           error // of the first failed write

	closing chan struct{}
	stop    func() // closes closing once
	ended   sync.WaitGroup
}

// The drawing is brought up to date every redrawInterval if there were events or the terminal
// was resized, and every maxTicks such intervals for the times in it.
const (
	redrawInterval = 100 * time.Millisecond
	maxTicks       = 10
)

// New returns a View that writes to w. The caller must Close it.
func New(w io.Writer, o *Options) *View {
	if o == nil {
		o = &Options{}
	}
	v := &View{
		w: w, size: o.Size, raw: o.RawOutput, clock: clock.OrSystem(o.Clock),
		run:     run{images: o.Images, byName: map[string]*image{}, took: map[string]time.Duration{}, ended: map[bake.Status]int{}},
		closing: make(chan struct{}),
	}
	v.stop = sync.OnceFunc(func() { close(v.closing) })
	if o.Groups {
		v.run.groups = map[string]*group{}
	}
	if v.size == nil {
		v.size = sizeOf(w)
	}
	if o.Plain || !drawable(os.Getenv) {
		v.size = nil
	}
	v.style.color = v.size != nil && os.Getenv("NO_COLOR") == ""
	if v.size != nil {
		v.columns, v.rows = v.size()
		v.steady = steadyTicks
		v.ended.Go(v.redraw)
	}
	return v
}

// sizeOf returns a func that asks the terminal w, or nil.
func sizeOf(w io.Writer) func() (columns, rows int) {
	file, ok := w.(interface{ Fd() uintptr })
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return func() (columns, rows int) {
		const usualColumns, usualRows = 80, 24
		columns, rows, err := term.GetSize(int(file.Fd()))
		if err != nil {
			return usualColumns, usualRows
		}
		return cmp.Or(columns, usualColumns), cmp.Or(rows, usualRows)
	}
}

// drawable reports whether the environment is that of a terminal with cursor movement.
func drawable(env func(string) string) bool {
	if env("CI") != "" || env("TERM") == "dumb" {
		return false
	}
	// The old console of Windows shows escape sequences as text.
	return runtime.GOOS != "windows" || env("WT_SESSION") != "" || env("TERM") != ""
}

// Observe shows e. Use it as [bake.Options.Observe], or call it from there.
func (v *View) Observe(e bake.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.size == nil {
		v.write(v.run.plain(&e, v.raw))
		return
	}
	v.run.observe(&e, v.style)
	v.changed = true
}

// redraw draws until Close.
func (v *View) redraw() {
	tick := time.NewTicker(redrawInterval)
	defer tick.Stop()
	for {
		select {
		case <-v.closing:
			return
		case <-tick.C:
		}
		v.mu.Lock()
		v.ticks++
		v.steady++
		if columns, rows := v.size(); columns != v.columns || rows != v.rows {
			v.columns, v.rows, v.steady = columns, rows, 0
		}
		stale := v.ticks >= maxTicks || v.steady == 0 || v.steady == steadyTicks
		if v.changed || stale && len(v.run.current) > 0 {
			v.draw()
		}
		v.mu.Unlock()
	}
}

// Close removes the drawing and prints a table of the results, if there are several. It
// returns the error of the first write that failed; nothing is written after it.
func (v *View) Close(results []*bake.Result) error {
	v.stop()
	v.ended.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.run.current = nil
	if v.size != nil {
		v.columns, v.rows = v.size()
	}
	for _, name := range slices.Sorted(maps.Keys(v.run.groups)) { // whose end was not observed
		v.write(v.run.group(name))
	}
	if v.size != nil {
		v.draw()
	}
	v.write(v.table(results))
	return v.err
}

func (v *View) write(text string) {
	if v.err == nil && text != "" {
		_, v.err = io.WriteString(v.w, text)
	}
}
