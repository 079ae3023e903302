//go:build linux

package qemu_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// The environment of a process that kills itself.
const (
	killedAt       = "BAKESTONE_TEST_AT" // the number of a kill point, or the beginning of a message
	killedSource   = "BAKESTONE_TEST_SOURCE"
	killedPrograms = "BAKESTONE_TEST_PROGRAMS"
	killedDetach   = "BAKESTONE_TEST_DETACH"
)

// resumable returns an image that shows whether a provisioner ran twice.
func resumable(host *qemu.Host, source string, detach bool) *bake.Image {
	return &bake.Image{
		Name: "web",
		Builder: qemu.Builder{
			Host: host, Source: qemu.DiskFile(source), Accelerator: qemu.TCG, CPUs: 1, Memory: 512 << 20, Detach: detach,
			PowerOff: "(sleep 0.3; poweroff) >/dev/null 2>&1 &", // so that it can be killed before
			Args:     directBoot(source),                        // which the fake ignores
			Ignition: []byte(ignitionConfig),                    // which most guests ignore
			SSH:      qemu.SSH{User: "root"},
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

// killPoint reports whether a process may be killed at an event: the begin and the end of a
// step, of a command on the machine, and of a command on the host.
func killPoint(e bake.Event) bool {
	return slices.Contains([]bake.EventKind{bake.StepStarted, bake.StepFinished, bake.CommandStarted, bake.CommandFinished}, e.Kind)
}

// killPoints bakes an image and returns what happens at each point at which it may be
// killed.
func killPoints(t *testing.T, img *bake.Image) []string {
	t.Helper()
	var points []string
	var mu sync.Mutex
	_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
		mu.Lock()
		defer mu.Unlock()
		if killPoint(e) {
			points = append(points, fmt.Sprintf("%d %s %s", len(points), e.Kind, e.Step))
		}
	}}, img)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) < 50 {
		t.Fatalf("kill points %q, want at least 50", points)
	}
	return points
}

// chosen reports whether point i of n is one of those of the short form, which has most of
// them. The long form, with BAKESTONE_LONG=1, has all.
func chosen(i, n, most int) bool {
	return os.Getenv("BAKESTONE_LONG") != "" || i*most/n != (i-1)*most/n && i > 0
}

// TestResumeAfterKill kills a process that bakes at the begin and at the end of steps and
// commands, with its QEMU, and resumes the build in this process.
func TestResumeAfterKill(t *testing.T) {
	if os.Getenv(killedAt) != "" {
		bakeUntilKilled(t)
		return
	}
	t.Parallel()
	host, source := newHost(t)
	points := killPoints(t, resumable(host, source, false))
	most := 4
	if testenv.Thorough() {
		most = 10
	}
	for i, point := range points {
		if !chosen(i, len(points), most) {
			continue
		}
		t.Run(point, func(t *testing.T) {
			host, source := newHost(t)
			d := resumeAfter(t, point, host, source, programsOf(host), i%2 == 1)
			content, err := readFakeDisk(d.Path)
			if err != nil {
				t.Fatal(err)
			}
			if _, found := content.Files[ignitionMade]; !found {
				t.Errorf("the image lacks %s of the caller's configuration", ignitionMade)
			}
			for name, f := range content.Files {
				if name == ignitionResult || strings.HasPrefix(name, "/etc/ssh/ssh_host_") || strings.HasSuffix(name, "authorized_keys") && len(f.Content) > 0 {
					t.Errorf("the image has %s: the guest was not cleaned", name)
				}
			}
		})
	}
}

// TestResumeAfterKillsInQEMU does the same with real machines.
func TestResumeAfterKillsInQEMU(t *testing.T) {
	if os.Getenv(killedAt) != "" {
		return
	}
	longOnly(t)
	t.Parallel()
	b := realBuilder(t)
	source := testenv.Need(t, "qemu")
	points := killPoints(t, resumable(b.Host, source, false))
	t.Logf("%d kill points", len(points))
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			resumeAfter(t, point, qemu.NewHost(t.TempDir(), nil), source, "", false)
		})
	}
}

// resumeAfter kills a process that bakes at a point, with its QEMU unless that is detached,
// resumes the build and returns the image.
func resumeAfter(t *testing.T, point string, host *qemu.Host, source, programs string, detach bool) *qemu.Disk {
	t.Helper()
	number, _, _ := strings.Cut(point, " ")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestResumeAfterKill$")
	cmd.Env = append(os.Environ(), killedAt+"="+number, killedSource+"="+source, killedPrograms+"="+programs,
		killedHost+"="+host.Dir(), killedDetach+"="+strconv.FormatBool(detach))
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed: %v\n%s", err, out)
	}
	store := bake.DirStore(filepath.Join(host.Dir(), "store"))
	rec := testenv.DeadRecord(t.Context(), t, store)
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
	during := strings.Contains(point, " provision ") || strings.HasSuffix(point, " step finished: connect")
	if during && detach != strings.Contains(text, "the machine is running already") {
		t.Errorf("the build resumed a machine that was detached (%v):\n%s", detach, text)
	}
	if left := existing(t, host); len(left) != 1 {
		t.Errorf("after the resumed build: %v, want the image alone", left)
	}
	return diskOf(t, results[0])
}

// bakeUntilKilled bakes and kills this process at the point that the environment names.
func bakeUntilKilled(t *testing.T) {
	t.Helper()
	at := os.Getenv(killedAt)
	host := qemu.NewHost(os.Getenv(killedHost), &qemu.HostOptions{Programs: os.Getenv(killedPrograms)})
	var mu sync.Mutex
	seen := 0
	_, err := bake.Bake(t.Context(), &bake.Options{
		Store: bake.DirStore(filepath.Join(host.Dir(), "store")),
		Observe: func(e bake.Event) {
			mu.Lock()
			defer mu.Unlock()
			if killPoint(e) && strconv.Itoa(seen) == at || e.Kind == bake.Message && strings.HasPrefix(e.Text, at) {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			if killPoint(e) {
				seen++
			}
		},
	}, resumable(host, os.Getenv(killedSource), os.Getenv(killedDetach) == "true"))
	t.Fatalf("Bake ended: %v", err)
}
