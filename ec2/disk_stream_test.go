package ec2_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/internal/testenv/disktest"
)

func TestDiskStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		disk := randomDisk(24 * mib)
		open := func(more []byte) func(context.Context) (io.ReadCloser, error) {
			return func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(disk), bytes.NewReader(more))), nil
			}
		}
		results, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{Open: open(nil), Size: int64(len(disk))}))
		if err != nil {
			t.Fatalf("Bake: %v", err)
		}
		sameContent(t, cloud, "", results[0].Artifact.ID(), disk)
		if _, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{Open: open([]byte("more")), Size: int64(len(disk))})); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("Bake of a longer stream = %v, want an error", err)
		}
		if _, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{Open: open(nil), Size: 30 * mib})); err == nil || !strings.Contains(err.Error(), "ended after") {
			t.Errorf("Bake of a shorter stream = %v, want an error", err)
		}
		wantLeftovers(t, server, results[0].Artifact)
	})
}

// readerFunc is an io.Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestDiskStreamBegins gives the second half of a disk when a block of the first one has
// arrived: an upload that read the disk first would wait for ever.
func TestDiskStreamBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		arrived := make(chan struct{})
		var once sync.Once
		cloud, _ := watchedCloud(server, func(req *http.Request) error {
			if isPut(req) {
				once.Do(func() { close(arrived) })
			}
			return nil
		})
		disk := randomDisk(24 * mib)
		open := func(context.Context) (io.ReadCloser, error) {
			first, second := bytes.NewReader(disk[:12*mib]), bytes.NewReader(disk[12*mib:])
			return io.NopCloser(io.MultiReader(first, readerFunc(func(p []byte) (int, error) {
				<-arrived
				return second.Read(p)
			}))), nil
		}
		results, err := bake.Bake(t.Context(), nil, diskImage(cloud, ec2.Disk{Open: open, Size: int64(len(disk))}))
		if err != nil {
			t.Fatalf("Bake: %v", err)
		}
		sameContent(t, cloud, "", results[0].Artifact.ID(), disk)
	})
}

// TestDiskStreamBoot checks that a stream boots as a file does: its boot loaders are read
// from the snapshot.
func TestDiskStreamBoot(t *testing.T) {
	loader := func(name string, machine uint16) []byte {
		esp := disktest.FAT(t, 4*mib, map[string][]byte{"EFI/BOOT/" + name: disktest.EFIProgram(machine)})
		return disktest.GPT(80*mib, false, disktest.Partition{Type: disktest.Linux, Content: make([]byte, 64*mib)}, disktest.Partition{Type: disktest.ESP, Content: esp})
	}
	arm := loader("BOOTAA64.EFI", disktest.ARM64)
	for _, test := range []struct {
		name, architecture string
		disk               []byte
		mode               string // of the AMI
		want               string // the error
	}{
		{name: "BIOS", disk: randomDisk(16 * mib), architecture: "x86_64", mode: "legacy-bios"},
		{name: "UEFI", disk: arm, architecture: "arm64", mode: "uefi"},
		{name: "other architecture", disk: arm, architecture: "x86_64", want: "boot loader is for [arm64], want x86_64"},
		{name: "wrong program", disk: loader("BOOTX64.EFI", disktest.ARM64), want: "is a program for arm64, want x86_64"},
		{name: "no boot loader", disk: disktest.GPT(8*mib, false, disktest.Partition{Type: disktest.Linux, Content: make([]byte, mib)}), want: "neither a boot loader"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				disk := ec2.Disk{Size: int64(len(test.disk)), Open: func(context.Context) (io.ReadCloser, error) {
					return io.NopCloser(bytes.NewReader(test.disk)), nil
				}}
				if test.want != "" {
					disk.Architecture = test.architecture
				}
				results, err := bake.Bake(t.Context(), nil, diskImage(cloud, disk))
				if test.want != "" {
					wantError(t, "Bake", err, "read boot loaders: disk stream", test.want)
					if n := server.CallCount("RegisterImage"); n > 0 || len(server.Leftovers()) > 0 {
						t.Errorf("calls of RegisterImage = %d, Leftovers = %q, want none", n, server.Leftovers())
					}
					return
				}
				if err != nil {
					t.Fatalf("Bake: %v", err)
				}
				image := describeImage(t, cloud, results[0].Artifact.ID())
				if string(image.Architecture) != test.architecture || string(image.BootMode) != test.mode {
					t.Errorf("image is for %s by %s, want %s by %s", image.Architecture, image.BootMode, test.architecture, test.mode)
				}
			})
		})
	}
}
