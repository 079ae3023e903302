package ec2_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

// fleet returns n images of one file each.
func fleet(cloud *ec2.Cloud, n int) []*bake.Image {
	images := make([]*bake.Image, 0, n)
	for i := range n {
		images = append(images, &bake.Image{
			Name:         fmt.Sprintf("node%03d", i),
			Builder:      ec2.Builder{Cloud: cloud, Source: ubuntu()},
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

// TestFleet bakes many images at once, 500 in the long form, with BAKESTONE_LONG=1.
func TestFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		size := 100
		if long() {
			size = 500
		}
		goroutines, files := testenv.BubbleGoroutines(), openFiles()
		server := ec2test.New(nil)
		results, err := bake.Bake(t.Context(), &bake.Options{Parallel: size}, fleet(newCloud(server), size)...)
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
		if images != size {
			t.Errorf("images = %d, want %d", images, size)
		}
		server.Close()
		wantNoMore(t, "goroutines", testenv.BubbleGoroutines, goroutines)
		wantNoMore(t, "open files", openFiles, files)
	})
}

// wantNoMore waits until count returns no more than before.
func wantNoMore(t *testing.T, what string, count func() int, before int) {
	t.Helper()
	for range 3000 {
		if count() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%s = %d, want at most %d as before\n%s", what, count(), before, stacks[:runtime.Stack(stacks, true)])
}
