package temporal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/bakestone-go/bakestone/bake"
)

// A Baker bakes on a worker.
type Baker struct {
	// Options configures the bakes. Store is required, and must be that of all workers;
	// Resume, Labels and Caller are not used. Observe receives the events of the bakes on
	// this worker, those of several bakes at once.
	Options *bake.Options

	// Images returns the definitions for the labels of a Request, at least those of the
	// requested images. It is required.
	Images func(ctx context.Context, labels map[string]string) ([]*bake.Image, error)
}

// The names under which the workflow and the activities are registered.
const (
	WorkflowName = "bakestone.Bake"
	planName     = "bakestone.Plan"
	imageName    = "bakestone.BakeImage"
)

// A Request asks for bakes of images and of their sources.
type Request struct {
	Images []string          `json:"images"`
	Labels map[string]string `json:"labels,omitempty"` // as in bake.Request
	Caller string            `json:"caller,omitempty"` // as in bake.Request
}

// An Image is a baked image.
type Image struct {
	Image    string            `json:"image"`
	Build    string            `json:"build"`
	Status   bake.Status       `json:"status"`
	Artifact string            `json:"artifact,omitempty"` // its id
	IDs      map[string]string `json:"ids,omitempty"`      // by destination
}

// Progress is what an activity reports in its heartbeats.
type Progress struct {
	Build string `json:"build"`
	Step  string `json:"step,omitempty"`
}

// A task is the input of the activity of one image.
type task struct {
	Image  string `json:"image"`
	Build  string `json:"build"`
	From   string `json:"from,omitempty"`   // the build of its source
	Cancel bool   `json:"cancel,omitempty"` // the workflow was canceled before the image's turn
}

// Register registers the workflow and the activities with a worker.
func (b *Baker) Register(r worker.Registry) error {
	switch {
	case b.Options == nil || b.Options.Store == nil:
		return bake.Invalid("Baker.Options.Store", "is required")
	case b.Images == nil:
		return bake.Invalid("Baker.Images", "is required")
	case len(b.Options.Resume) > 0:
		return bake.Invalid("Baker.Options.Resume", "must be empty")
	}
	r.RegisterWorkflowWithOptions(bakeAll, workflow.RegisterOptions{Name: WorkflowName})
	r.RegisterActivityWithOptions(b.plan, activity.RegisterOptions{Name: planName})
	r.RegisterActivityWithOptions(b.bakeImage, activity.RegisterOptions{Name: imageName})
	return nil
}

// plan records the bakes of a request, each once for a run of the workflow.
func (b *Baker) plan(ctx context.Context, req Request) ([]task, error) {
	run := activity.GetInfo(ctx).WorkflowExecution
	runner := &bake.Runner{Options: b.Options, Images: b.Images}
	records, err := runner.Start(ctx, bake.Request{ID: run.ID + "/" + run.RunID, Images: req.Images, Labels: req.Labels, Caller: req.Caller})
	if _, invalid := errors.AsType[*bake.Error](err); invalid || errors.Is(err, bake.ErrNoImages) {
		return nil, sdk.NewNonRetryableApplicationError(err.Error(), "Invalid", nil)
	}
	if err != nil {
		return nil, err
	}
	tasks := make([]task, 0, len(records))
	for _, rec := range records {
		tasks = append(tasks, task{Image: rec.Image, Build: rec.Build, From: rec.From})
	}
	return tasks, nil
}

// bakeImage bakes an image or, if an earlier attempt began to, goes on with it.
func (b *Baker) bakeImage(ctx context.Context, t task) (*Image, error) {
	store := b.Options.Store
	if t.Cancel {
		if err := bake.Cancel(ctx, store, t.Build, "the workflow was canceled"); err != nil {
			return nil, err
		}
	}
	rec, err := store.Load(ctx, t.Build)
	switch {
	case errors.Is(err, bake.ErrNoRecord):
		return nil, sdk.NewNonRetryableApplicationError(err.Error(), "NoRecord", nil)
	case err != nil:
		return nil, err
	case rec.Ended() && rec.Lease.Owner == "": // the end of an earlier attempt was lost
		return outcome(rec)
	}
	records, images, err := b.chain(ctx, rec)
	if err != nil {
		return nil, err
	}
	opts := *b.Options
	opts.Resume, opts.Labels, opts.Caller = records, rec.Labels, rec.Caller
	var step atomic.Value
	step.Store("")
	opts.Observe = func(e bake.Event) {
		if e.Build == t.Build && e.Step != "" {
			step.Store(e.Step) // masked
		}
		if b.Options.Observe != nil {
			b.Options.Observe(e)
		}
	}
	baking, stop := untilTold(ctx)
	stopBeats := beat(ctx, func() Progress {
		name, _ := step.Load().(string)
		return Progress{Build: t.Build, Step: name}
	})
	_, err = bake.Bake(baking, &opts, images...)
	stopBeats()
	stop()
	now, loadErr := store.Load(context.WithoutCancel(ctx), t.Build)
	if loadErr != nil {
		return nil, errors.Join(err, loadErr)
	}
	if !now.Ended() {
		return nil, fmt.Errorf("build %s goes on at the next attempt: %w", t.Build, err)
	}
	if now.Status == bake.StatusCanceled && canceled(ctx) {
		return nil, sdk.NewCanceledError()
	}
	return outcome(now)
}

// chain returns the record of a build after those of its sources, and their definitions.
func (b *Baker) chain(ctx context.Context, rec *bake.Record) (records []*bake.Record, images []*bake.Image, err error) {
	definitions, err := b.Images(ctx, rec.Labels)
	if err != nil {
		return nil, nil, err
	}
	var img *bake.Image
	for _, d := range definitions {
		for at := d; at != nil && img == nil; at = at.From {
			if at.Name == rec.Image {
				img = at
			}
		}
	}
	if img == nil { // another worker may have it
		return nil, nil, fmt.Errorf("this worker has no definition of image %q", rec.Image)
	}
	for ; img != nil; img = img.From {
		images = append([]*bake.Image{img}, images...)
		records = append([]*bake.Record{rec}, records...)
		if img.From == nil {
			break
		}
		if rec, err = b.Options.Store.Load(ctx, rec.From); err != nil {
			return nil, nil, fmt.Errorf("record of the source image %q: %w", img.From.Name, err)
		}
	}
	return records, images, nil
}

// outcome returns the result of a build that has ended. It is not tried again.
func outcome(rec *bake.Record) (*Image, error) {
	switch rec.Status {
	case bake.StatusBaked, bake.StatusReused, bake.StatusProvisioned:
		img := &Image{Image: rec.Image, Build: rec.Build, Status: rec.Status}
		if rec.Artifact != nil {
			img.Artifact, img.IDs = rec.Artifact.ID, rec.Artifact.IDs
		}
		return img, nil
	default:
		return nil, sdk.NewNonRetryableApplicationError(fmt.Sprintf("build %s %s: %s", rec.Build, rec.Status, rec.Error), string(rec.Status), nil)
	}
}

// canceled reports whether Temporal asked the activity to cancel. Its context also ends when
// the worker stops, or when Temporal takes the worker for dead.
func canceled(ctx context.Context) bool {
	_, ok := errors.AsType[*sdk.CanceledError](context.Cause(ctx))
	return ok
}

// untilTold returns the context of a bake: it ends with ErrSuspended if the bake shall go on
// on another worker. The caller must call stop.
func untilTold(ctx context.Context) (baking context.Context, stop func()) {
	baking, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-ctx.Done():
			if canceled(ctx) {
				cancel(context.Canceled)
				return
			}
		case <-activity.GetWorkerStopChannel(ctx):
		case <-ended:
			return
		}
		cancel(bake.ErrSuspended)
	})
	return baking, func() {
		close(ended)
		waiting.Wait()
		cancel(nil)
	}
}

// beat sends heartbeats, also while a canceled bake cleans up. The caller must call stop.
func beat(ctx context.Context, progress func() Progress) (stop func()) {
	ended := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		ticker := time.NewTicker(heartbeatTimeout / heartbeats)
		defer ticker.Stop()
		for {
			activity.RecordHeartbeat(ctx, progress())
			select {
			case <-ticker.C:
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		beating.Wait()
	}
}
