package journal_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/journal"
)

const build = "20260102t030405-abcdefgh"

func TestDirConforms(t *testing.T) {
	baketest.ConformJournal(t, func(t *testing.T) func() journal.Store {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "events")
		return func() journal.Store { return journal.Dir(dir) }
	})
}

// TestDirTornLine reads and continues a file whose last line a killed process has not
// finished, wherever it was cut.
func TestDirTornLine(t *testing.T) {
	dir := t.TempDir()
	store := journal.Dir(dir)
	if err := store.Append(t.Context(), build, []bake.Event{{Number: 1, Text: "a"}, {Number: 2, Text: "b"}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, build+".events")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		if err := os.WriteFile(file, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		complete := strings.Count(string(whole[:cut]), "\n")
		if events, err := store.Read(t.Context(), build, 0, 10); err != nil || len(events) != complete {
			t.Errorf("Read of the first %d bytes = %v, %v, want %d events", cut, events, err, complete)
		}
		if err := store.Append(t.Context(), build, []bake.Event{{Number: 9, Text: "c"}}); err != nil {
			t.Errorf("Append to the first %d bytes: %v", cut, err)
		}
		if events, err := store.Read(t.Context(), build, 0, 10); err != nil || len(events) != complete+1 || events[complete].Text != "c" {
			t.Errorf("Read after Append to the first %d bytes = %v, %v", cut, events, err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode of the file = %v, %v, want the owner's only", info, err)
	}
}

// A memory is a journal.Store that fails while err is set.
type memory struct {
	mu     sync.Mutex
	events []bake.Event
	writes int
	err    error
}

func (m *memory) Append(_ context.Context, _ string, events []bake.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.writes++
	m.events = append(m.events, events...)
	return nil
}

func (m *memory) Read(_ context.Context, _ string, after int64, _ int) (events []bake.Event, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.events {
		if e.Number > after {
			events = append(events, e)
		}
	}
	return events, m.err
}

func (m *memory) Delete(context.Context, string) error { return nil }

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// texts returns the numbers and texts of the events.
func (m *memory) texts() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all strings.Builder
	for _, e := range m.events {
		fmt.Fprintf(&all, "%d %s %s\n", e.Number, e.Kind, e.Text)
	}
	return all.String()
}

func TestWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{err: errors.New("planted")}
		w := journal.NewWriter(t.Context(), m, &journal.WriterOptions{MaxEvents: 3})
		number := int64(0)
		observe := func(kind bake.EventKind, text string) {
			number++
			w.Observe(bake.Event{Number: number, Build: build, Kind: kind, Step: "s", Text: text})
		}
		w.Observe(bake.Event{Kind: bake.Message, Text: "of no build"})
		observe(bake.StepStarted, "")
		observe(bake.BytesMoved, "a")
		observe(bake.BytesMoved, "b")
		observe(bake.BytesMoved, "a") // in place of the first
		time.Sleep(time.Minute)       // the store fails
		m.fail(nil)
		time.Sleep(10 * time.Second)
		for _, text := range []string{"one", "two"} { // too many
			observe(bake.OutputLine, text)
		}
		observe(bake.StepFinished, "")
		observe(bake.BuildFinished, "")
		if err := w.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
		want := `1 step started 
3 bytes moved b
4 bytes moved a
5 message the journal is full: output is left out from here on
7 step finished 
8 build finished 
`
		if got := m.texts(); got != want || m.writes != 2 {
			t.Errorf("%d writes of\n%swant 2 of\n%s", m.writes, got, want)
		}
	})
}

// TestWriterWithoutStore fills a Writer whose store fails: it must neither wait nor grow
// without limit.
func TestWriterWithoutStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		planted := errors.New("planted")
		m := &memory{err: planted}
		w := journal.NewWriter(t.Context(), m, nil)
		begun := time.Now()
		for n := range int64(50_000) {
			w.Observe(bake.Event{Number: n + 1, Build: build, Kind: bake.OutputLine})
		}
		w.Observe(bake.Event{Number: 50_001, Build: build, Kind: bake.BuildFinished})
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("Observe waited %v", waited)
		}
		time.Sleep(time.Minute)
		m.fail(nil)
		time.Sleep(10 * time.Second)
		m.fail(planted)
		if n := len(m.events); n > 21_000 || m.events[n-1].Kind != bake.BuildFinished || m.events[n-2].Kind != bake.Message {
			t.Errorf("%d events, the last %+v; want some 20,000, a message and the end", n, m.events[n-2:])
		}
		w.Observe(bake.Event{Number: 50_002, Build: build, Kind: bake.Message})
		if err := w.Close(); !errors.Is(err, planted) {
			t.Errorf("Close = %v, want the store's error", err)
		}
	})
}

// TestFollower watches a bake from its start and from each of its events on.
func TestFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records, events := bake.MemoryStore(), &memory{}
		w := journal.NewWriter(t.Context(), events, nil)
		runner := &bake.Runner{
			Options: &bake.Options{Store: records, Observe: w.Observe},
			Images: func(context.Context, map[string]string) ([]*bake.Image, error) {
				return []*bake.Image{{Name: "web", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{
					bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error { time.Sleep(time.Hour); return nil }},
				}}}, nil
			},
		}
		recs, err := runner.Start(t.Context(), bake.Request{Images: []string{"web"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error)
		follow := func(ctx context.Context, after int64) (numbers []int64, err error) {
			f := &journal.Follower{Events: events, Records: records, Build: recs[0].Build, After: after}
			for {
				news, err := f.Next(ctx)
				for _, e := range news {
					numbers = append(numbers, e.Number)
				}
				if err != nil {
					return numbers, err
				}
			}
		}
		go func() { ended <- runner.Serve(ctx) }()
		early, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if numbers, err := follow(early, 0); !errors.Is(err, context.DeadlineExceeded) || len(numbers) == 0 {
			t.Errorf("Next until a minute is over = %v, %v, want events and the end of the context", numbers, err)
		}
		// The process is replaced.
		cancel(bake.ErrSuspended)
		if err := <-ended; !errors.Is(err, bake.ErrSuspended) {
			t.Errorf("Serve = %v, want %v", err, bake.ErrSuspended)
		}
		ctx, cancel = context.WithCancelCause(t.Context())
		go func() { ended <- runner.Serve(ctx) }()
		all, err := follow(t.Context(), 0)
		if !errors.Is(err, io.EOF) || len(all) < 10 {
			t.Fatalf("Next = %v, %v, want all events and EOF", all, err)
		}
		for i, number := range all {
			rest, err := follow(t.Context(), number)
			if !errors.Is(err, io.EOF) || fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
				t.Errorf("Next after event %d = %v, %v, want %v", number, rest, err, all[i+1:])
			}
		}
		cancel(nil)
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve = %v, want %v", err, context.Canceled)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := records.Delete(t.Context(), recs[0].Build); err != nil {
			t.Fatal(err)
		}
		if _, err := follow(t.Context(), all[len(all)-1]); !errors.Is(err, bake.ErrNoRecord) {
			t.Errorf("Next of a build without a record = %v, want %v", err, bake.ErrNoRecord)
		}
	})
}
