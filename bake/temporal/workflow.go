package temporal

import (
	"errors"
	"time"

	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// The limits of activities. A bake limits itself, by bake.Options.Lifetime and its steps'
// timeouts.
const (
	heartbeatTimeout = 10 * time.Second
	heartbeats       = 10 // within heartbeatTimeout
	longestBake      = 7 * 24 * time.Hour
)

// bakeAll is the workflow: it bakes the images of a request as soon as their sources are
// baked. An image whose source failed is skipped, which its activity records. The error is
// that of all images.
func bakeAll(ctx workflow.Context, req Request) ([]*Image, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: longestBake, HeartbeatTimeout: heartbeatTimeout, WaitForCancellation: true,
		RetryPolicy: &sdk.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	})
	planning := workflow.WithHeartbeatTimeout(ctx, 0) // it is short
	planning = workflow.WithStartToCloseTimeout(planning, time.Minute)
	var tasks []task
	if err := workflow.ExecuteActivity(planning, planName, req).Get(ctx, &tasks); err != nil {
		return nil, err
	}
	images := make([]*Image, len(tasks))
	errs := make([]error, len(tasks))
	ended := map[string]workflow.Future{} // by build
	all := workflow.NewWaitGroup(ctx)
	for i, t := range tasks {
		source := ended[t.From]
		future, settle := workflow.NewFuture(ctx)
		ended[t.Build] = future
		all.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer all.Done()
			if source != nil {
				// The source's own activity has its error, and cleans up if ctx is canceled.
				lasting, cancel := workflow.NewDisconnectedContext(ctx)
				_ = source.Get(lasting, nil)
				cancel()
			}
			if ctx.Err() != nil { // its record must end as well
				var cancel workflow.CancelFunc
				ctx, cancel = workflow.NewDisconnectedContext(ctx)
				defer cancel()
				t.Cancel = true
			}
			errs[i] = workflow.ExecuteActivity(ctx, imageName, t).Get(ctx, &images[i])
			settle.Set(nil, errs[i])
		})
	}
	lasting, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	all.Wait(lasting)
	if err := ctx.Err(); err != nil {
		return images, err
	}
	return images, errors.Join(errs...)
}
