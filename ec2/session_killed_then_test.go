package ec2_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

func undoKilled(t *testing.T, b *killedBake) {
	t.Helper()
	good := 0
	for _, rec := range b.records(t) {
		bare := &bake.Image{Builder: ec2.Builder{Cloud: killedCloud(b.server.URL(), b.port, nil)}}
		if err := bake.Undo(t.Context(), killedOptions(b.store, killedLease), bare, rec); err != nil {
			t.Errorf("Undo of %s = %v", rec.Image, err)
		}
		if rec.Good {
			good++
		}
	}
	images := wantOnlyImages(t, b.server)
	if good == 0 && images > 0 {
		t.Errorf("%d images, want none: no build was good", images)
	}
}

// reapKilled loses the store and removes what has expired by tags alone. Good images stay.
func reapKilled(t *testing.T, b *killedBake) {
	t.Helper()
	const lifetime, grace = 6 * time.Hour, 10 * time.Minute // the defaults
	good := 0
	for _, rec := range b.records(t) {
		if rec.Good {
			good++
		}
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.moved.Store(int64(lifetime + 2*grace))
	reaper := &ec2.Reaper{Clouds: []*ec2.Cloud{killedCloud(b.server.URL(), b.port, nil)}, Regions: []string{testRegion, "us-east-1"}}
	// The first run may leave resources that others used which it was removing.
	for range 2 {
		if _, err := reaper.Reap(t.Context()); err != nil {
			t.Errorf("Reap() = %v", err)
		}
	}
	if images := wantOnlyImages(t, b.server); images < good {
		t.Errorf("%d images, want those of %d good builds", images, good)
	}
}

// workOnKilled lets the worker of another machine finish the builds.
func workOnKilled(t *testing.T, b *killedBake) {
	t.Helper()
	b.start(t, -1, killedWorker)
	if out, err := b.wait(t); err != nil {
		t.Fatalf("worker: %v\n%s", err, out)
	}
	recs := b.records(t)
	ids := map[string]string{}
	for _, rec := range recs {
		if rec.Status != bake.StatusBaked || rec.Artifact == nil {
			t.Errorf("record of %s: %s %s, want baked", rec.Image, rec.Status, rec.Error)
			continue
		}
		ids[rec.Image] = rec.Artifact.ID
	}
	if id := ids["top"]; id != "" {
		for _, path := range []string{"/etc/base", "/etc/first", "/etc/second"} {
			wantFile(t, b.server, id, path, "old\n")
		}
	}
	want := map[int]int{0: 0, 1: 1, 2: 3}[len(recs)] // top has a copy
	if ids["top"] != "" {
		want = 3
	}
	if images := wantOnlyImages(t, b.server); images != want {
		t.Errorf("%d images of %d builds, want %d", images, len(recs), want)
	}
}

// thawKilled lets the process continue that was stopped, once another has its builds.
func thawKilled(t *testing.T, b *killedBake) {
	t.Helper()
	recs := b.records(t)
	thaw := func() {
		if err := signalTo(b.child.Process.Pid, "CONT"); err != nil {
			t.Error(err)
		}
	}
	if len(recs) < 2 {
		thaw() // it owns no build that another process could have
		_, _ = b.wait(t)
		return
	}
	seen := 0
	thawed := false
	b.resume(t, "old", func(e bake.Event) {
		if e.Kind == bake.BuildTaken || seen > 0 {
			seen++
		}
		if seen > b.events && !thawed {
			thawed = true
			thaw()
		}
	})
	if !thawed {
		thaw()
	}
	out, err := b.wait(t)
	if err != nil || strings.Contains(out, "changed after the thaw") {
		t.Errorf("the process that was stopped: %v, output %s, want no changes", err, out)
	}
	if !strings.Contains(out, "lost") && !strings.Contains(out, "points: ") {
		t.Errorf("the process that was stopped printed %s, want that its lease is lost", out)
	}
	wantNoLeftovers(t, b.server)
}

// wantOnlyImages checks that only promoted images and their snapshots are left.
func wantOnlyImages(t *testing.T, server *ec2test.Server) (images int) {
	t.Helper()
	for _, r := range server.Resources(func(r ec2test.Resource) bool { return r.Tags[ec2.TagBuild] != "" }) {
		switch {
		case r.Type == "image":
			images++
		case r.Type != "snapshot":
			t.Errorf("left: %v", r)
		}
		if r.Tags[ec2.TagExpires] != "" {
			t.Errorf("left, and not promoted: %v", r)
		}
	}
	return images
}
