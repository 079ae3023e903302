package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/telemetry"
)

// record bakes images, and returns the spans and metrics of the run.
func record(t *testing.T, images ...*bake.Image) (tracetest.SpanStubs, metricdata.ResourceMetrics, error) {
	t.Helper()
	spans, reader := tracetest.NewInMemoryExporter(), metric.NewManualReader()
	tracers := trace.NewTracerProvider(trace.WithSyncer(spans))
	ctx, parent := tracers.Tracer("test").Start(t.Context(), "deploy")
	run := telemetry.New(ctx, &telemetry.Options{TracerProvider: tracers, MeterProvider: metric.NewMeterProvider(metric.WithReader(reader))})
	_, err := bake.Bake(ctx, &bake.Options{Observe: run.Observe}, images...)
	run.End(err)
	parent.End()
	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &metrics); err != nil {
		t.Fatal(err)
	}
	return spans.GetSpans(), metrics, err
}

func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		img := &bake.Image{
			Name: "web", Builder: baketest.NewBuilder(nil),
			Secrets: []bake.Secret{bake.NewSecret("correct horse")},
			Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: "install", Do: func(ctx context.Context, _ bake.Machine) error {
				run := bake.RunFromContext(ctx)
				run.Say("password is correct horse")
				finished := run.Command("install nginx\n--password 'correct horse'")
				time.Sleep(time.Minute)
				finished(errors.New("exit status 1"))
				run.Emit(bake.Event{Kind: bake.APICalled, Text: "EC2 RunInstances", Attempt: 2, Elapsed: time.Second})
				return nil
			}}},
			Steps: []bake.Step{{Name: "register", At: bake.BeforeCapture, Retry: bake.Retry{Attempts: 2, Delay: time.Second}, Do: func(context.Context) error {
				if attempts++; attempts == 1 {
					return errors.New("not yet")
				}
				return errors.New("refused")
			}}},
		}
		spans, metrics, err := record(t, img)
		if err == nil {
			t.Fatal("Bake = nil, want the error of register")
		}
		names := map[string]string{}
		for _, s := range spans {
			names[s.SpanContext.SpanID().String()] = s.Name
		}
		got := map[string]string{}
		for _, s := range spans {
			text := fmt.Sprintf("in %q %v %s", names[s.Parent.SpanID().String()], s.EndTime.Sub(s.StartTime), s.Status.Description)
			for _, e := range s.Events {
				text += " [" + e.Name
				for _, a := range e.Attributes {
					text += fmt.Sprintf(" %s=%v", a.Key, a.Value.AsInterface())
				}
				text += "]"
			}
			if s.Status.Code == codes.Error {
				text += " failed"
			}
			got[s.Name] = text
		}
		want := map[string]string{
			"bake":                 `in "deploy" 1m1s image web: register: refused failed`,
			"image web":            `in "bake" 1m1s image web: register: refused [resource removed kind=machine id=machine-1] failed`,
			"connect":              `in "image web" 0s `,
			"launch machine":       `in "image web" 0s  [resource created kind=machine id=machine-1]`,
			"install nginx…":       `in "provision 1: install" 1m0s exit status 1 failed`,
			"EC2 RunInstances":     `in "provision 1: install" 1s `,
			"provision 1: install": `in "image web" 1m0s  [message text=password is [redacted]]`,
			"register":             `in "image web" 1s refused [step retried attempt=1 error=not yet] failed`,
			"undo connect":         `in "image web" 0s `,
			"undo launch machine":  `in "image web" 0s `,
		}
		delete(got, "deploy")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("spans (-want +got):\n%s", diff)
		}
		values := map[string]float64{}
		for _, scope := range metrics.ScopeMetrics {
			for _, m := range scope.Metrics {
				switch data := m.Data.(type) { //lint:concrete the SDK's data
				case metricdata.Histogram[float64]:
					for _, p := range data.DataPoints {
						values[m.Name+" "+labels(p.Attributes)] = p.Sum
					}
				case metricdata.Sum[int64]:
					for _, p := range data.DataPoints {
						values[m.Name+" "+labels(p.Attributes)] = float64(p.Value)
					}
				}
			}
		}
		for name, want := range map[string]float64{
			"bakestone.image.duration failed":                         61,
			"bakestone.step.duration succeeded, provision 1: install": 60,
			"bakestone.step.duration failed, register":                1,
			"bakestone.step.retries register":                         1,
			"bakestone.api.calls EC2 RunInstances, succeeded":         1,
		} {
			if got, ok := values[name]; !ok || got != want {
				t.Errorf("metric %q = %v, want %v; all: %v", name, got, want, values)
			}
		}
	})
}

func labels(set attribute.Set) string {
	var values []string
	for _, a := range set.ToSlice() {
		values = append(values, a.Value.AsString())
	}
	return strings.Join(values, ", ")
}

// TestEndWithoutEvents ends a run while an image is baked.
func TestEndWithoutEvents(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	run := telemetry.New(t.Context(), &telemetry.Options{TracerProvider: trace.NewTracerProvider(trace.WithSyncer(spans))})
	run.Observe(bake.Event{Kind: bake.StepStarted, Image: "web", Step: "connect"})
	run.End(nil)
	var names []string
	for _, s := range spans.GetSpans() {
		names = append(names, s.Name+": "+s.Status.Description)
	}
	want := []string{"connect: end not observed", "image web: end not observed", "bake: "}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}
