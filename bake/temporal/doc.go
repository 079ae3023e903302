// Package temporal bakes on the workers of Temporal: a workflow for each request, and an
// activity for each image, on whichever worker is free. It is for those who run Temporal
// anyway; a [bake.Runner] shares bakes among processes with nothing but a store.
//
// The program of a worker, with the client and worker packages of Temporal's SDK:
//
//	w := worker.New(c, "bakes", worker.Options{WorkerStopTimeout: time.Minute})
//	err := (&temporal.Baker{Options: &bake.Options{Store: store}, Images: definitions}).Register(w)
//	…
//	err = w.Run(worker.InterruptCh())
//
// And that of a client:
//
//	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "web-7", TaskQueue: "bakes"},
//		temporal.WorkflowName, temporal.Request{Images: []string{"web"}, Labels: map[string]string{"release": "7"}})
//	…
//	var images []temporal.Image
//	err = run.Get(ctx, &images)
//
// An image is baked once its source is, on any worker. If the workflow is canceled, its
// bakes learn it by their heartbeats, within ten seconds, and clean up before it ends. If a worker is stopped, its bakes end after their running
// step, and others continue them from their records; WorkerStopTimeout must be longer than
// bake.Options.SuspendWait. If a worker dies, Temporal notices it by the missing heartbeats
// and gives its activities to others. Those wait for the lease of the record: a worker that
// only seemed dead cannot touch the build after that. Heartbeats alone do not fence it.
//
// Records, which contain keys, stay in the store, which all workers share. The history of a
// workflow contains the request, names, build ids, results, and errors with their secrets
// masked. If a workflow is terminated, rather than canceled, no worker cleans up: its
// machines end when they expire.
package temporal
