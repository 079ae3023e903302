package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// LogHandler returns a handler that adds trace_id and span_id to log records before it
// passes them to next, so that they can be found from a trace and the other way round:
//
//	options := &bake.Options{Observe: run.Observe, Log: slog.New(run.LogHandler(next))}
//
// They are those of the image that the record's attribute image names, as all records of
// package bake do. Other records, and all of them while spans are not recorded, pass
// unchanged. With groups, the ids are in the innermost one.
func (r *Run) LogHandler(next slog.Handler) slog.Handler { return &logHandler{run: r, next: next} }

type logHandler struct {
	run   *Run
	next  slog.Handler
	image string // from WithAttrs
	group bool
}

// Enabled reports whether the next handler is enabled.
func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle adds the ids and passes r on.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	image := h.image
	if !h.group {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "image" {
				image = a.Value.Resolve().String()
			}
			return true
		})
	}
	if span := h.run.spanOf(image); span.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs adds attributes to the records.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.next = h.next.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == "image" && !h.group {
			with.image = a.Value.Resolve().String()
		}
	}
	return &with
}

// WithGroup opens a group in the records.
func (h *logHandler) WithGroup(name string) slog.Handler {
	with := *h
	with.next = h.next.WithGroup(name)
	with.group = h.group || name != ""
	return &with
}

// spanOf returns the span of an image, which may have ended: the record of its end is
// logged after it was observed.
func (r *Run) spanOf(image string) trace.SpanContext {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spans[image]
}
