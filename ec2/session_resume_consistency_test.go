package ec2_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// A stallingStore blocks when it is to save for the n-th time that a step is done.
// To others, its process looks dead.
type stallingStore struct {
	bake.Store

	n      int
	last   []byte
	step   string        // done, but not recorded
	dead   chan struct{} // closed when Save blocks
	resume chan struct{} // closed to let Save fail
}

func newStallingStore(n int) *stallingStore {
	return &stallingStore{n: n, dead: make(chan struct{}), resume: make(chan struct{})}
}

func (d *stallingStore) Save(_ context.Context, rec *bake.Record) (err error) {
	if last := len(rec.Steps) - 1; last >= 0 && rec.Steps[last].State == bake.StepDone && d.n > 0 {
		if d.n--; d.n == 0 {
			d.step = rec.Steps[last].Name
			close(d.dead)
		}
	}
	if d.step != "" {
		<-d.resume
		return errors.New("the process is dead")
	}
	d.last, err = json.Marshal(rec)
	return err
}

// TestEventualConsistencyResume resumes the realistic definition in another
// process, from before each step was recorded as done, on an EC2 that shows
// changes late and unevenly. There must be no second AMI and no leftovers. The short form
// has every second step.
func TestEventualConsistencyResume(t *testing.T) {
	t.Parallel()
	by := 2
	if long() {
		by = 1
	}
	for n := 1; ; n += by {
		ended := false
		t.Run(fmt.Sprint("step ", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { ended = resumeAfterStep(t, n) })
		})
		if ended || t.Failed() {
			return
		}
	}
}

// resumeAfterStep stops a bake before its n-th step is recorded as done, and
// resumes it. It reports whether the bake ended before.
func resumeAfterStep(t *testing.T, n int) (ended bool) {
	t.Helper()
	const lag = 5 * time.Second
	server, img := laggingShop(t, lag, uint64(n)) //nolint:gosec // G115: n is positive
	defer server.Close()
	store := newStallingStore(n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := bake.Bake(ctx, &bake.Options{Store: store}, img)
		first <- err
	}()
	select {
	case err := <-first:
		if err != nil {
			t.Errorf("Bake() error = %v", err)
		}
		const fewest = 20
		if n <= fewest {
			t.Errorf("steps = %d, want %d or more", n-1, fewest)
		}
		return true
	case <-store.dead:
	}
	defer func() { // the first process ends and finds nothing to remove
		cancel()
		close(store.resume)
		if err := <-first; err == nil {
			t.Error("Bake() in the first process: error = nil")
		}
		wantOnlyTemplates(t, server)
	}()
	rec := new(bake.Record)
	if err := json.Unmarshal(store.last, rec); err != nil {
		t.Fatal(err)
	}
	cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress})
	again := shop(cloud, cloud.Assume(ec2.Role{ARN: prodRole}), "")
	again.Publishers = img.Publishers
	again = setDistribution(again, func(d *ec2.Distribution) { d.Protection = ec2.Unprotected })
	results, err := bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{rec}}, again)
	if err != nil {
		t.Fatalf("Bake() resumed after %s: error = %v", store.step, err)
	}
	time.Sleep(lag)
	if images := resourcesOf(server, "image"); len(images) != len(shopPlaces()) {
		t.Errorf("resumed after %s: images = %v, want one in each place", store.step, images)
	}
	destroy(t, results[0].Artifact)
	return false
}
