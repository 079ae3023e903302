package temporal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/temporal"
)

// A history collects everything that the workflow and its activities send.
type history struct {
	converter.DataConverter
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *history) ToPayload(v any) (*commonpb.Payload, error) {
	p, err := h.DataConverter.ToPayload(v)
	h.add(p)
	return p, err
}

func (h *history) ToPayloads(v ...any) (*commonpb.Payloads, error) {
	p, err := h.DataConverter.ToPayloads(v...)
	for _, one := range p.GetPayloads() {
		h.add(one)
	}
	return p, err
}

func (h *history) add(p *commonpb.Payload) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(p.GetData())
	h.text.WriteByte('\n')
}

// A kitchen is a platform in memory with a base image and two others on top of it.
type kitchen struct {
	builder *baketest.Builder
	store   bake.Store
	begun   chan string // receives the name of each image whose provisioner begins
	work    func(ctx context.Context, image string) error
}

func newKitchen() *kitchen {
	return &kitchen{builder: baketest.NewBuilder(nil), store: bake.MemoryStore(), begun: make(chan string, 100)}
}

func (k *kitchen) baker() *temporal.Baker {
	return &temporal.Baker{
		Options: &bake.Options{Store: k.store, SuspendWait: time.Millisecond},
		Images: func(_ context.Context, labels map[string]string) ([]*bake.Image, error) {
			image := func(name string, from *bake.Image) *bake.Image {
				return &bake.Image{
					Name: name, From: from, Builder: k.builder, Secrets: []bake.Secret{bake.NewSecret("s3cret-value")},
					Provisioners: []bake.Provisioner{bake.ProvisionFunc{Version: labels["release"], Do: func(ctx context.Context, _ bake.Machine) error {
						k.begun <- name
						if k.work != nil {
							return k.work(ctx, name)
						}
						return nil
					}}},
				}
			}
			base := image("base", nil)
			return []*bake.Image{image("web", base), image("worker", base)}, nil
		},
	}
}

// environment returns one for workflows, with the activities of a worker.
func (k *kitchen) environment(t *testing.T) (*testsuite.TestWorkflowEnvironment, *history) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	sent := &history{DataConverter: converter.GetDefaultDataConverter()}
	env.SetDataConverter(sent)
	env.SetTestTimeout(time.Minute)
	if err := k.baker().Register(env); err != nil {
		t.Fatal(err)
	}
	return env, sent
}

func (k *kitchen) records(t *testing.T) map[string]*bake.Record {
	t.Helper()
	records, err := bake.Records(t.Context(), k.store)
	if err != nil {
		t.Fatal(err)
	}
	byImage := map[string]*bake.Record{}
	for _, rec := range records {
		if !rec.Ended() || rec.Lease.Owner != "" {
			t.Errorf("record of %s has not ended: %+v", rec.Image, rec)
		}
		byImage[rec.Image] = rec
	}
	return byImage
}

func request() temporal.Request {
	return temporal.Request{Images: []string{"web", "worker"}, Labels: map[string]string{"release": "7"}, Caller: "alice"}
}

func TestWorkflow(t *testing.T) {
	k := newKitchen()
	k.work = func(context.Context, string) error { return nil }
	env, sent := k.environment(t)
	env.ExecuteWorkflow(temporal.WorkflowName, request())
	var images []*temporal.Image
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&images)); err != nil {
		t.Fatal(err)
	}
	if len(images) != 3 || images[0].Image != "base" || images[1].Artifact == "" || images[2].Status != bake.StatusBaked {
		t.Errorf("images %+v, want base, web and worker", images)
	}
	records := k.records(t)
	if len(records) != 3 || records["web"].From != records["base"].Build || records["web"].Source != images[0].Artifact || records["web"].Caller != "alice" {
		t.Errorf("records %+v, want three for alice, made from base", records)
	}
	if got := k.builder.Existing(); len(got) != 3 {
		t.Errorf("existing %v, want three images", got)
	}
	// The records' sessions, and so their keys, are not in the history.
	text := sent.text.String()
	for _, rec := range records {
		var session map[string]any
		if err := json.Unmarshal(rec.Session, &session); err != nil || len(session) == 0 {
			t.Fatalf("session %s: %v", rec.Session, err)
		}
		if strings.Contains(text, string(rec.Session)) || strings.Contains(text, `"session"`) || strings.Contains(text, `"steps"`) {
			t.Errorf("the history has a record:\n%s", text)
		}
	}
	if !strings.Contains(text, records["web"].Build) {
		t.Errorf("the history was not seen:\n%s", text)
	}
}

// TestWorkflowFails fails the base, with a secret in its error. It is baked once.
func TestWorkflowFails(t *testing.T) {
	k := newKitchen()
	k.work = func(context.Context, string) error { return errors.New("password s3cret-value is wrong") }
	env, sent := k.environment(t)
	env.ExecuteWorkflow(temporal.WorkflowName, request())
	err := env.GetWorkflowError()
	if err == nil || !strings.Contains(err.Error(), "is wrong") || strings.Contains(err.Error(), "s3cret") || strings.Contains(sent.text.String(), "s3cret") {
		t.Errorf("the workflow ended with %v, want the masked error of base", err)
	}
	records := k.records(t)
	if records["base"].Status != bake.StatusFailed || records["web"].Status != bake.StatusSkipped || len(k.begun) != 1 {
		t.Errorf("records %+v, begun %d times; want base failed once, web skipped", records, len(k.begun))
	}
	if got := k.builder.Existing(); len(got) != 0 {
		t.Errorf("existing %v, want nothing", got)
	}
}

func TestWorkflowRefuses(t *testing.T) {
	k := newKitchen()
	env, _ := k.environment(t)
	env.ExecuteWorkflow(temporal.WorkflowName, temporal.Request{Images: []string{"absent"}})
	if err := env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "no definition of this image") {
		t.Errorf("the workflow ended with %v, want an unknown image", err)
	}
	for want, b := range map[string]*temporal.Baker{
		"Baker.Options.Store": {Images: k.baker().Images}, "Baker.Images": {Options: &bake.Options{Store: k.store}},
	} {
		if err := b.Register(env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Register = %v, want %q", err, want)
		}
	}
}

// TestWorkerStops stops the worker of an activity within a step. The next attempt, on another
// worker, goes on with the build.
func TestWorkerStops(t *testing.T) {
	k := newKitchen()
	stop := make(chan struct{})
	k.work = func(ctx context.Context, _ string) error {
		if len(k.begun) > 1 {
			return nil
		}
		close(stop)
		<-ctx.Done() // after SuspendWait
		return context.Cause(ctx)
	}
	runner := &bake.Runner{Options: k.baker().Options, Images: k.baker().Images}
	recs, err := runner.Start(t.Context(), bake.Request{Images: []string{"base"}, Labels: request().Labels})
	if err != nil {
		t.Fatal(err)
	}
	task := map[string]string{"image": "base", "build": recs[0].Build}
	attempt := func(stopped chan struct{}) (image temporal.Image, err error) {
		var suite testsuite.WorkflowTestSuite
		env := suite.NewTestActivityEnvironment()
		if stopped != nil {
			env.SetWorkerStopChannel(stopped)
		}
		if err := k.baker().Register(registry{env}); err != nil {
			t.Fatal(err)
		}
		value, err := env.ExecuteActivity("bakestone.BakeImage", task)
		if err == nil {
			err = value.Get(&image)
		}
		return image, err
	}
	_, err = attempt(stop)
	app, ok := errors.AsType[*sdk.ApplicationError](err)
	if !ok || app.NonRetryable() || !strings.Contains(err.Error(), "goes on at the next attempt") {
		t.Fatalf("attempt on a worker that stops = %v, want to be tried again", err)
	}
	if rec, err := k.store.Load(t.Context(), recs[0].Build); err != nil || rec.Ended() || rec.Lease.Owner != "" {
		t.Errorf("record %+v, %v, want one that is free", rec, err)
	}
	image, err := attempt(nil)
	if err != nil || image.Artifact == "" || len(k.begun) != 2 {
		t.Errorf("next attempt = %+v, %v, begun %d times; want the image, twice", image, err, len(k.begun))
	}
	// The result was lost: an attempt after the end returns it again.
	if again, err := attempt(nil); fmt.Sprint(again, err) != fmt.Sprint(image, nil) || len(k.begun) != 2 {
		t.Errorf("attempt after the end = %+v, %v, begun %d times; want %+v", again, err, len(k.begun), image)
	}
	if got := k.builder.Existing(); len(got) != 1 {
		t.Errorf("existing %v, want one image", got)
	}
}
