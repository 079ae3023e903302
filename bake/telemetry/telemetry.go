// Package telemetry turns the events of a run of [bake.Bake] into OpenTelemetry's
// spans and metrics:
//
//	run := telemetry.New(ctx, nil)
//	results, err := bake.Bake(ctx, &bake.Options{Observe: run.Observe}, images...)
//	run.End(err)
//
// The span of the run is a child of the span in ctx. It has a child for each image,
// which has one for each step and for each undo. The span of a step has one for each
// command and for each attempt of an API call. Messages, failed attempts of the step,
// and resources created and removed are its events. Secrets are masked as in all
// events.
//
// The metrics are
//
//	bakestone.image.duration  seconds of a build, by status
//	bakestone.image.wait      seconds that an image waited for its source image and its turn
//	bakestone.step.duration   seconds of a step, by step and outcome
//	bakestone.step.retries    failed attempts that were repeated, by step
//	bakestone.transfer.bytes  bytes of large files sent and received
//	bakestone.api.calls       attempts of API calls, by call and outcome
//
// [Run.LogHandler] adds the ids of the spans to log records. docs/telemetry.md tells how
// to export to a collector.
package telemetry

import (
	"context"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/amount"
)

// scope names the instrumentation.
const scope = "github.com/bakestone-go/bakestone/bake/telemetry"

// Options configures a Run. A nil *Options is the same as the zero value.
type Options struct {
	// TracerProvider and MeterProvider receive the spans and metrics. If nil, the
	// global ones of package otel are used.
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// A Run is a run of Bake. Its methods may be called from any goroutine.
type Run struct {
	ctx    context.Context //nolint:containedctx // parent of the spans of later events
	tracer trace.Tracer
	span   trace.Span
	meters meters

	mu     sync.Mutex
	images map[string]*image
	spans  map[string]trace.SpanContext // of all images, by name
}

// An image is a running build.
type image struct {
	ctx     context.Context //nolint:containedctx // parent of the spans of the steps
	span    trace.Span
	stepCtx context.Context //nolint:containedctx // parent of the spans of commands and calls
	step    trace.Span      // of the running step, or nil
	moved   amount.Moved    // by the running step
}

type meters struct {
	image, step    metric.Float64Histogram
	wait           metric.Float64Histogram
	retries, bytes metric.Int64Counter
	calls          metric.Int64Counter
}

// New starts the span of a run. The caller must call End.
func New(ctx context.Context, o *Options) *Run {
	if o == nil {
		o = &Options{}
	}
	tracers, provider := o.TracerProvider, o.MeterProvider
	if tracers == nil {
		tracers = otel.GetTracerProvider()
	}
	if provider == nil {
		provider = otel.GetMeterProvider()
	}
	version := trace.WithInstrumentationVersion(bake.Version)
	r := &Run{tracer: tracers.Tracer(scope, version), images: map[string]*image{}, spans: map[string]trace.SpanContext{}}
	r.ctx, r.span = r.tracer.Start(ctx, "bake")
	r.meters = newMeters(provider.Meter(scope, metric.WithInstrumentationVersion(bake.Version)))
	return r
}

// newMeters returns the instruments. Those that the provider refuses, which it reports
// to the handler of package otel, do nothing.
func newMeters(m metric.Meter) meters {
	var made meters
	for _, err := range []error{
		set(&made.image)(m.Float64Histogram("bakestone.image.duration", metric.WithUnit("s"), metric.WithDescription("Duration of the build of an image."))),
		set(&made.wait)(m.Float64Histogram("bakestone.image.wait", metric.WithUnit("s"), metric.WithDescription("Time from the start of the run to the start of a build."))),
		set(&made.step)(m.Float64Histogram("bakestone.step.duration", metric.WithUnit("s"), metric.WithDescription("Duration of a step with all its attempts."))),
		set(&made.retries)(m.Int64Counter("bakestone.step.retries", metric.WithDescription("Failed attempts that were repeated."))),
		set(&made.calls)(m.Int64Counter("bakestone.api.calls", metric.WithDescription("Attempts of API calls."))),
		set(&made.bytes)(m.Int64Counter("bakestone.transfer.bytes", metric.WithUnit("By"), metric.WithDescription("Bytes of large files sent and received."))),
	} {
		if err != nil {
			otel.Handle(err)
		}
	}
	return made
}

func set[T any](to *T) func(T, error) error {
	return func(v T, err error) error {
		*to = v
		return err
	}
}

// Observe records e. Use it as [bake.Options.Observe], or call it from there.
func (r *Run) Observe(e bake.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.image(&e)
	at := trace.WithTimestamp(e.Time)
	switch e.Kind {
	case bake.BuildStarted:
		r.meters.wait.Record(r.ctx, e.Delay.Seconds())
	case bake.StepStarted:
		i.moved = amount.Moved{}
		if e.Attempt > 1 && i.step != nil {
			return
		}
		i.stepCtx, i.step = r.tracer.Start(i.ctx, e.Step, at)
	case bake.StepFinished:
		r.meters.step.Record(r.ctx, e.Elapsed.Seconds(), metric.WithAttributes(attribute.String("step", e.Step), outcome(e.Err)))
		i.end(e.Err, at)
	case bake.StepRetried:
		r.meters.retries.Add(r.ctx, 1, metric.WithAttributes(attribute.String("step", e.Step)))
		i.event(&e, attribute.Int("attempt", e.Attempt), attribute.String("error", e.Err))
	case bake.BuildRestarted:
		i.event(&e, attribute.String("step", e.Step), attribute.String("error", e.Err))
	case bake.UndoFinished:
		r.ended(i.ctx, e.Step, &e)
	case bake.CommandFinished:
		r.ended(i.parent(), commandName(e.Text), &e, attribute.String("process.command_line", e.Text))
	case bake.APICalled:
		r.meters.calls.Add(r.ctx, 1, metric.WithAttributes(attribute.String("call", e.Text), outcome(e.Err)))
		r.ended(i.parent(), e.Text, &e, attribute.Int("attempt", e.Attempt))
	case bake.BuildQueued:
		i.event(&e, attribute.String("text", e.Text), attribute.Int("queue", e.Queue))
	case bake.Message, bake.BuildPaused:
		i.event(&e, attribute.String("text", e.Text))
	case bake.ResourceCreated, bake.ResourceRemoved:
		i.event(&e, attribute.String("kind", e.Resource.Kind), attribute.String("id", e.Resource.ID))
	case bake.BytesMoved:
		r.meters.bytes.Add(r.ctx, i.moved.Add(e.Text, e.Done))
	case bake.BuildFinished:
		r.meters.image.Record(r.ctx, e.Elapsed.Seconds(), metric.WithAttributes(attribute.String("status", string(e.Status))))
		i.span.SetAttributes(attribute.String("bakestone.status", string(e.Status)), attribute.String("bakestone.artifact", e.Text))
		i.end("", at)
		end(i.span, e.Err, at)
		delete(r.images, e.Image)
	}
}

// ended records a span that e ends.
func (r *Run) ended(parent context.Context, name string, e *bake.Event, attributes ...attribute.KeyValue) {
	_, span := r.tracer.Start(parent, name, trace.WithTimestamp(e.Time.Add(-e.Elapsed)), trace.WithAttributes(attributes...))
	end(span, e.Err, trace.WithTimestamp(e.Time))
}

// parent returns the context of the running step, or else of the image.
func (i *image) parent() context.Context {
	if i.step != nil {
		return i.stepCtx
	}
	return i.ctx
}

func outcome(err string) attribute.KeyValue {
	if err != "" {
		return attribute.String("outcome", "failed")
	}
	return attribute.String("outcome", "succeeded")
}

// commandName returns the beginning of a command, which may be a whole script.
func commandName(text string) string {
	const longest = 60
	name, _, more := strings.Cut(text, "\n")
	if len(name) > longest {
		name, more = strings.ToValidUTF8(name[:longest], ""), true
	}
	if more {
		name += "…"
	}
	return name
}

// image returns the image of e, whose span it starts if e is its first event.
func (r *Run) image(e *bake.Event) *image {
	i := r.images[e.Image]
	if i == nil {
		i = &image{}
		i.ctx, i.span = r.tracer.Start(r.ctx, "image "+e.Image, trace.WithTimestamp(e.Time),
			trace.WithAttributes(attribute.String("bakestone.image", e.Image), attribute.String("bakestone.build", e.Build)))
		r.images[e.Image], r.spans[e.Image] = i, i.span.SpanContext()
	}
	return i
}

// event adds e to the span of the running step, or else of the image.
func (i *image) event(e *bake.Event, attributes ...attribute.KeyValue) {
	span := i.span
	if i.step != nil {
		span = i.step
	}
	span.AddEvent(string(e.Kind), trace.WithTimestamp(e.Time), trace.WithAttributes(attributes...))
}

// end ends the span of the running step.
func (i *image) end(err string, at trace.SpanEndOption) {
	if i.step != nil {
		end(i.step, err, at)
		i.step = nil
	}
}

func end(span trace.Span, err string, at trace.SpanEndOption) {
	if err != "" {
		span.SetStatus(codes.Error, err)
	}
	span.End(at)
}

// End ends the span of the run with the error of Bake, and the spans of images whose
// end was not observed.
func (r *Run) End(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.images {
		at := trace.WithTimestamp(time.Now())
		i.end("end not observed", at)
		end(i.span, "end not observed", at)
	}
	clear(r.images)
	if err != nil {
		r.span.SetStatus(codes.Error, err.Error())
	}
	r.span.End()
}
