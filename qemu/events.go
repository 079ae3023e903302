package qemu

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

// A machineEvent is what QEMU reports of its guest by itself.
type machineEvent struct {
	name   string // "RESET", "SHUTDOWN", "GUEST_PANICKED"
	reason string // "guest-reset", "guest-shutdown"
	guest  bool   // the guest caused it
}

// An eventLog collects events of one QEMU until it ends.
type eventLog struct {
	cancel  context.CancelFunc
	watcher sync.WaitGroup

	mu     sync.Mutex
	events []machineEvent
}

// watchEvents begins to collect the events of the machine that has just been started or
// adopted. They come by a socket of their own, since QEMU serves one client of a socket
// at a time.
func (s *session) watchEvents(ctx context.Context) {
	s.endEvents()
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &eventLog{cancel: cancel}
	s.events = l
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	l.watcher.Go(func() {
		defer once()
		if err := qmp.Watch(watching, s.path(eventsName), once, l.add); err != nil && watching.Err() == nil {
			s.run.Log.Debug("reading QEMU's events", slog.String("error", err.Error()))
		}
	})
	select {
	case <-ready:
	case <-ctx.Done():
	}
}

// endEvents waits until no more events of a QEMU that has ended are read.
func (s *session) endEvents() {
	if s.events == nil {
		return
	}
	s.events.cancel()
	s.events.watcher.Wait()
	s.events = nil
}

func (l *eventLog) add(e qmp.Event) {
	if !slices.Contains([]string{"RESET", "SHUTDOWN", "GUEST_PANICKED", "GUEST_CRASHLOADED", "WATCHDOG"}, e.Name) {
		return
	}
	var data struct {
		Reason string `json:"reason"`
		Guest  bool   `json:"guest"`
	}
	_ = json.Unmarshal(e.Data, &data) // each event has other data
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 1000 // a guest can reset itself without end
	if len(l.events) < most {
		l.events = append(l.events, machineEvent{name: e.Name, reason: data.Reason, guest: data.Guest})
	}
}

// count returns the number of events so far.
func (l *eventLog) count() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// explain returns what the events after the first n tell about a lost connection.
func (l *eventLog) explain(n int) string {
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[min(n, len(l.events)):] {
		switch {
		case e.name == "RESET" && e.guest:
			return ": the guest has reset itself"
		case e.name == "WATCHDOG":
			return ": the guest's watchdog has ended"
		case strings.HasPrefix(e.name, "GUEST_"):
			return ": the guest's kernel has panicked"
		}
	}
	return ""
}

// ending returns why QEMU has ended: the reason of its last SHUTDOWN event, or an empty
// string. The event may be read only after the end.
func (s *session) ending(ctx context.Context) string {
	if s.events == nil {
		return ""
	}
	limited, stop := clock.WithTimeout(ctx, clock.System(), endTimeout)
	defer stop()
	done := make(chan struct{})
	go func() {
		s.events.watcher.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-limited.Done():
		s.events.cancel()
		<-done
	}
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	for _, e := range slices.Backward(s.events.events) {
		if e.name == "SHUTDOWN" {
			return e.reason
		}
	}
	return ""
}
