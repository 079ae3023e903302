package servertest

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/server/temporaltest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/temporal"
)

const (
	queue  = "bakes"
	secret = "s3cret-value"
)

// A plant is a platform in memory with a base image and one on top of it, and a server of
// Temporal. Each provisioner waits until the test lets it go on.
type plant struct {
	*testing.T
	server  *temporaltest.TestServer
	builder *baketest.Builder
	store   bake.Store
	begun   chan string   // receives the image of each provisioner that begins
	goOn    chan struct{} // closed to let them end
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	if os.Getenv("BAKESTONE_LONG") == "" {
		t.Skip("takes minutes to build; set BAKESTONE_LONG=1")
	}
	return &plant{
		T: t, server: temporaltest.NewServer(temporaltest.WithT(t)), builder: baketest.NewBuilder(nil), store: bake.MemoryStore(),
		begun: make(chan string, 10), goOn: make(chan struct{}),
	}
}

// worker starts one, as a process of its own would.
func (p *plant) worker() worker.Worker {
	p.Helper()
	image := func(name string, from *bake.Image) *bake.Image {
		return &bake.Image{
			Name: name, From: from, Builder: p.builder, Secrets: []bake.Secret{bake.NewSecret(secret)},
			Provisioners: []bake.Provisioner{bake.ProvisionFunc{Version: "1", Do: func(ctx context.Context, _ bake.Machine) error {
				p.begun <- name
				select {
				case <-p.goOn:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}}},
		}
	}
	baker := &temporal.Baker{
		Options: &bake.Options{Store: p.store, Lease: 2 * time.Second, SuspendWait: time.Millisecond},
		Images: func(context.Context, map[string]string) ([]*bake.Image, error) {
			return []*bake.Image{image("web", image("base", nil))}, nil
		},
	}
	return p.server.NewWorkerWithOptions(queue, func(r worker.Registry) {
		if err := baker.Register(r); err != nil {
			p.Fatal(err)
		}
	}, worker.Options{WorkerStopTimeout: 20 * time.Second})
}

func (p *plant) start(ctx context.Context) client.WorkflowRun {
	p.Helper()
	run, err := p.server.GetDefaultClient().ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "web-1", TaskQueue: queue},
		temporal.WorkflowName, temporal.Request{Images: []string{"web"}, Caller: "alice"})
	if err != nil {
		p.Fatal(err)
	}
	return run
}

// checkHistory looks for what must stay in the store.
func (p *plant) checkHistory(ctx context.Context, run client.WorkflowRun) {
	p.Helper()
	var text strings.Builder
	events := p.server.GetDefaultClient().GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			p.Fatal(err)
		}
		text.WriteString(event.String() + "\n")
	}
	if !strings.Contains(text.String(), "bakestone.BakeImage") {
		p.Errorf("history without an activity:\n%s", text.String())
	}
	for _, never := range []string{secret, "PRIVATE KEY", `session`, `\"steps\"`} {
		if strings.Contains(text.String(), never) {
			p.Errorf("the history has %q:\n%s", never, text.String())
		}
	}
}

// checkRecords wants records that have ended with a status.
func (p *plant) checkRecords(ctx context.Context, want bake.Status) {
	p.Helper()
	records, err := bake.Records(ctx, p.store)
	if err != nil {
		p.Fatal(err)
	}
	for _, rec := range records {
		if rec.Status != want || rec.Lease.Owner != "" {
			p.Errorf("record of %s: %s, owner %q, want %s, none", rec.Image, rec.Status, rec.Lease.Owner, want)
		}
	}
	if len(records) != 2 {
		p.Errorf("%d records, want 2", len(records))
	}
}

func TestCancel(t *testing.T) {
	p := newPlant(t)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	p.worker()
	run := p.start(ctx)
	<-p.begun
	if err := p.server.GetDefaultClient().CancelWorkflow(ctx, run.GetID(), run.GetRunID()); err != nil {
		t.Fatal(err)
	}
	if err := run.Get(ctx, nil); !sdk.IsCanceledError(err) {
		t.Errorf("the canceled workflow ended with %v, want canceled", err)
	}
	p.checkRecords(ctx, bake.StatusCanceled)
	if got := p.builder.Existing(); len(got) != 0 {
		t.Errorf("existing %v, want nothing", got)
	}
	p.checkHistory(ctx, run)
}

// TestHandOver stops the worker that bakes. Another one goes on.
func TestHandOver(t *testing.T) {
	p := newPlant(t)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	first := p.worker()
	run := p.start(ctx)
	<-p.begun
	p.worker()
	first.Stop()
	close(p.goOn)
	var images []*temporal.Image
	if err := run.Get(ctx, &images); err != nil {
		t.Fatal(err)
	}
	if len(images) != 2 || images[1].Image != "web" || images[1].Artifact == "" {
		t.Errorf("images %+v, want base and web", images)
	}
	p.checkRecords(ctx, bake.StatusBaked)
	if got := p.builder.Existing(); len(got) != 2 {
		t.Errorf("existing %v, want two images", got)
	}
	if n := len(p.begun); n != 2 { // base again, and web
		t.Errorf("%d provisioners begun after the first, want 2", n)
	}
	p.checkHistory(ctx, run)
}
