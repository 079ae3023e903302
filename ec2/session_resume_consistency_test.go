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
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// A stallingStore is a Store whose process stands still when it records for the n-th
// time that a step is done: for others it is dead.
type stallingStore struct {
	bake.Store

	n      int
	last   []byte
	step   string        // that was done, and is not known to be
	dead   chan struct{} // closed when it stands still
	buried chan struct{} // closed when it may go on, and end
}

func newStallingStore(n int) *stallingStore {
	return &stallingStore{n: n, dead: make(chan struct{}), buried: make(chan struct{})}
}

func (d *stallingStore) Save(_ context.Context, rec *bake.Record) (err error) {
	if last := len(rec.Steps) - 1; last >= 0 && rec.Steps[last].State == bake.StepDone && d.n > 0 {
		if d.n--; d.n == 0 {
			d.step = rec.Steps[last].Name
			close(d.dead)
		}
	}
	if d.step != "" {
		<-d.buried
		return errors.New("the process is dead")
	}
	d.last, err = json.Marshal(rec)
	return err
}

// TestEventualConsistencyResume goes on with the realistic definition in another process,
// from before the record of each of its steps, on an EC2 that shows what is new
// late and unevenly: it makes no second AMI, and leaves nothing.
func TestEventualConsistencyResume(t *testing.T) {
	for n := 1; ; n++ {
		ended := false
		t.Run(fmt.Sprint("step ", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { ended = resumeAfterStep(t, n) })
		})
		if ended || t.Failed() {
			return
		}
	}
}

// resumeAfterStep reports whether there is no n-th step.
func resumeAfterStep(t *testing.T, n int) (ended bool) {
	t.Helper()
	const lag = 5 * time.Second
	server, img := laggingShop(t, lag, uint64(n)) //nolint:gosec // G115: it is positive
	defer server.Close()
	bed := newStallingStore(n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := bake.Bake(ctx, &bake.Options{Store: bed}, img)
		first <- err
	}()
	select {
	case err := <-first:
		if err != nil {
			t.Errorf("undisturbed: %v", err)
		}
		const fewest = 20
		if n <= fewest {
			t.Errorf("only %d steps", n-1)
		}
		return true
	case <-bed.dead:
	}
	defer func() { // the dead process ends as well, and finds nothing to remove
		cancel()
		close(bed.buried)
		if err := <-first; err == nil {
			t.Error("the dead process has baked")
		}
		wantOnlyTemplates(t, server)
	}()
	rec := new(bake.Record)
	if err := json.Unmarshal(bed.last, rec); err != nil {
		t.Fatal(err)
	}
	cloud := ec2.NewCloud(server.Config(testRegion), &ec2.CloudOptions{Dial: server.Dial, SourceAddress: server.SourceAddress})
	again := shop(cloud, cloud.Assume(ec2.Role{ARN: prodRole}), "")
	again.Publishers = img.Publishers
	again = setDistribution(again, func(d *ec2.Distribution) { d.Protection = ec2.Unprotected })
	results, err := bake.Bake(t.Context(), &bake.Options{Resume: []*bake.Record{rec}}, again)
	if err != nil {
		t.Fatalf("killed after %s: %v", bed.step, err)
	}
	time.Sleep(lag)
	if images := server.Resources(func(r ec2test.Resource) bool { return r.Type == "image" }); len(images) != len(shopPlaces()) {
		t.Errorf("killed after %s: images %v, want one in each place", bed.step, images)
	}
	if err := results[0].Artifact.Destroy(t.Context()); err != nil {
		t.Errorf("killed after %s: %v", bed.step, err)
	}
	return false
}
