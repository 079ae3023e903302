//go:build linux

package qemu_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// The environment of a process that kills itself.
const (
	killedAt       = "BAKESTONE_TEST_AT"
	killedSource   = "BAKESTONE_TEST_SOURCE"
	killedPrograms = "BAKESTONE_TEST_PROGRAMS"
	killedDetach   = "BAKESTONE_TEST_DETACH"
)

// resumable returns an image that shows whether a provisioner ran twice.
func resumable(host *qemu.Host, source string, detach bool) *bake.Image {
	return &bake.Image{
		Name: "web",
		Builder: qemu.Builder{
			Host: host, Source: qemu.DiskFile(source), Accelerator: qemu.TCG, Detach: detach,
			PowerOff: "(sleep 0.3; poweroff) >/dev/null 2>&1 &", // so that it can be killed before
		},
		Provisioners: []bake.Provisioner{
			provision.Shell("touch /etc/first", "sync").AsRoot(),
			provision.Shell("test -e /etc/first", "touch /etc/second", "sync").AsRoot(),
		},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("test -e /etc/first && test -e /etc/second"))
		}}},
	}
}

// TestResumeAfterKill kills a process that bakes at the begin and at the end of steps,
// with its QEMU unless that is detached, and resumes the build in this process. The long form, with
// BAKESTONE_LONG=1, does so at each step.
func TestResumeAfterKill(t *testing.T) {
	if at := os.Getenv(killedAt); at != "" {
		bakeUntil(t, at)
		return
	}
	var points []string
	host, source := newHost(t)
	_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.StepStarted || e.Kind == bake.StepFinished {
			points = append(points, string(e.Kind)+": "+e.Step)
		}
	}}, resumable(host, source, false))
	if err != nil {
		t.Fatal(err)
	}
	if len(points) < 30 {
		t.Fatalf("kill points %q, want at least 30", points)
	}
	const every = 3
	for i, point := range points {
		if i%every != 0 && os.Getenv("BAKESTONE_LONG") == "" {
			continue
		}
		detach := i%2 == 1 // QEMU survives
		t.Run(fmt.Sprintf("%s, detached %v", point, detach), func(t *testing.T) {
			host, source := newHost(t)
			programs := fakePrograms(t)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResumeAfterKill$")
			cmd.Env = append(os.Environ(), killedAt+"="+point, killedSource+"="+source, killedPrograms+"="+programs, killedHost+"="+host.Dir(), killedDetach+"="+fmt.Sprint(detach))
			out, err := cmd.CombinedOutput()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				t.Fatalf("the process was not killed: %v\n%s", err, out)
			}
			store := bake.DirStore(filepath.Join(host.Dir(), "store"))
			ids, err := store.List(t.Context())
			if err != nil || len(ids) != 1 {
				t.Fatalf("records %v, %v, want one", ids, err)
			}
			rec, err := store.Load(t.Context(), ids[0])
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			results, err := bake.Bake(t.Context(), &bake.Options{Store: store, Resume: []*bake.Record{rec}, Observe: func(e bake.Event) {
				said = append(said, string(e.Kind)+" "+e.Step+" "+e.Text)
			}}, resumable(host, source, detach))
			if err != nil {
				t.Fatalf("Bake: %v\n%s", err, strings.Join(said, "\n"))
			}
			// Starting again from the source is right only where nothing else helps.
			text := strings.Join(said, "\n")
			if strings.Contains(text, string(bake.BuildRestarted)) {
				t.Errorf("the build began again instead of going on:\n%s", text)
			}
			if during := strings.Contains(point, ": provision "); during && detach != strings.Contains(text, "the machine is running already") {
				t.Errorf("the build resumed a machine that was detached (%v):\n%s", detach, text)
			}
			if left := existing(t, host); len(left) != 1 {
				t.Errorf("after the resumed build: %v, want the image alone", left)
			}
			d := diskOf(t, results[0])
			content, err := readFakeDisk(d.Path)
			if err != nil {
				t.Fatal(err)
			}
			for name, f := range content.Files {
				if strings.HasPrefix(name, "/etc/ssh/ssh_host_") || strings.HasSuffix(name, "authorized_keys") && len(f.Content) > 0 {
					t.Errorf("the image has %s: the guest was not cleaned", name)
				}
			}
		})
	}
}

// bakeUntil bakes and kills this process at the given event.
func bakeUntil(t *testing.T, at string) {
	t.Helper()
	host := qemu.NewHost(os.Getenv(killedHost), &qemu.HostOptions{Programs: os.Getenv(killedPrograms)})
	_, err := bake.Bake(t.Context(), &bake.Options{
		Store: bake.DirStore(filepath.Join(host.Dir(), "store")), Lease: time.Second,
		Observe: func(e bake.Event) {
			if string(e.Kind)+": "+e.Step == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		},
	}, resumable(host, os.Getenv(killedSource), os.Getenv(killedDetach) == "true"))
	t.Fatalf("Bake ended: %v", err)
}
