package ec2_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

// fleet returns n images of one file each.
func fleet(cloud *ec2.Cloud, n int) []*bake.Image {
	images := make([]*bake.Image, 0, n)
	for i := range n {
		images = append(images, &bake.Image{
			Name:         fmt.Sprintf("node%03d", i),
			Builder:      ec2.Builder{Cloud: cloud, Source: ubuntu(), SSH: ec2.SSH{ConnectTimeout: time.Hour}},
			Provisioners: []bake.Provisioner{provision.File{Content: fmt.Sprintln(i), Dest: "/etc/node", Sudo: true}},
		})
	}
	return images
}

// openFiles returns the number of open files and sockets of the process, or zero
// if the system does not tell.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

func TestFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("bakes 500 images")
	}
	goroutines, files := runtime.NumGoroutine(), openFiles()
	server := ec2test.New(nil)
	results, err := bake.Bake(t.Context(), &bake.Options{Parallel: 500}, fleet(newCloud(server), 500)...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		wantFile(t, server, r.Artifact.ID(), "/etc/node", fmt.Sprintln(i))
	}
	images := 0
	for _, left := range server.Resources(nil) {
		switch left.Type {
		case "image":
			images++
		case "snapshot":
		default:
			t.Errorf("resource %s is left, want only images and snapshots", left)
		}
	}
	if images != 500 {
		t.Errorf("images = %d, want 500", images)
	}
	server.Close()
	wantNoMore(t, "goroutines", runtime.NumGoroutine, goroutines)
	wantNoMore(t, "open files", openFiles, files)
}

// wantNoMore waits until count returns no more than before.
func wantNoMore(t *testing.T, what string, count func() int, before int) {
	t.Helper()
	for range 100 {
		if count() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%s = %d, want at most %d as before\n%s", what, count(), before, stacks[:runtime.Stack(stacks, true)])
}
