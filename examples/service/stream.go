package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/bakestone-go/bakestone/bake/journal"
)

// The limits of streams.
const (
	usualHeartbeat = 15 * time.Second // proxies cut what is silent for longer
	usualSlowest   = 10 * time.Second // a reader that does not take an event in that time is cut
	longest        = time.Hour        // then the client connects again, and must still be logged in
	reconnects     = 2 * time.Second
)

// watch streams the events of a bake from the journal, so it does not matter which process
// bakes. A client that connects again with Last-Event-ID gets exactly the later events, as
// long as the record is kept.
func (s *service) watch(w http.ResponseWriter, r *http.Request, _ string) error {
	after, err := lastEvent(r)
	if err != nil {
		return err
	}
	build := r.PathValue("build")
	if _, err := s.records.Load(r.Context(), build); err != nil {
		return err
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		return fail(http.StatusServiceUnavailable, "too many streams at once; try again")
	}
	ctx, cancel := context.WithTimeout(r.Context(), longest)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // of nginx
	out := &stream{w: w, to: http.NewResponseController(w), slowest: cmp.Or(s.slowest, usualSlowest)}
	out.err = out.to.SetReadDeadline(time.Time{}) // that of the request is over
	out.printf("retry: %d\n\n", reconnects.Milliseconds())
	follow := &journal.Follower{Events: s.events, Records: s.records, Build: build, After: after}
	for out.flush() == nil {
		waiting, stop := context.WithTimeout(ctx, cmp.Or(s.heartbeat, usualHeartbeat))
		events, err := follow.Next(waiting)
		stop()
		for _, e := range events {
			data, err := json.Marshal(e)
			if err != nil {
				return nil //nolint:nilerr // the response has begun
			}
			out.printf("id: %d\ndata: %s\n\n", e.Number, data)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			out.printf("event: end\ndata: {}\n\n")
			_ = out.flush()
			return nil
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			out.printf(": waiting\n\n")
		default: // the client comes back
			return nil
		}
	}
	return nil
}

// lastEvent returns the number of the last event that the client has.
func lastEvent(r *http.Request) (int64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	if text == "" {
		return 0, nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 {
		return 0, fail(http.StatusBadRequest, "Last-Event-ID: want the id of an event")
	}
	return number, nil
}

// A stream writes to a client, which it gives a limited time for each write.
type stream struct {
	w       http.ResponseWriter
	to      *http.ResponseController
	slowest time.Duration
	err     error
}

func (s *stream) printf(format string, args ...any) {
	if s.err == nil {
		s.err = s.to.SetWriteDeadline(time.Now().Add(s.slowest))
	}
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

func (s *stream) flush() error {
	if s.err == nil {
		s.err = s.to.Flush()
	}
	return s.err
}
