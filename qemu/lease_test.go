//go:build unix

package qemu_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/qemu"
)

// A lostStore hangs from the moment on at which it is cut, so that leases end.
type lostStore struct {
	bake.Store

	mu    sync.Mutex
	saved time.Time // when the last Save began, from which the lease counts
	cut   bool
}

func (s *lostStore) Save(ctx context.Context, r *bake.Record) error {
	began := time.Now()
	s.mu.Lock()
	cut := s.cut
	s.mu.Unlock()
	if cut {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	err := s.Store.Save(ctx, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && began.After(s.saved) {
		s.saved = began
	}
	return err
}

// untilLate cuts the store and returns when little is left of the lease: as late as a
// process is that was stopped for a while.
func (s *lostStore) untilLate(lease time.Duration) {
	s.mu.Lock()
	s.cut = true
	saved := s.saved
	s.mu.Unlock()
	const enough = 0.85 // of the lease; it may be used for three quarters
	time.Sleep(time.Until(saved.Add(time.Duration(enough * float64(lease)))))
}

// A lostBake is a bake that is late at an event within a step.
type lostBake struct {
	image   *bake.Image
	late    func(e bake.Event) bool
	refused string // a command of QMP
	ended   bool   // the machine ends before the event
}

// TestLateProcess stops bakes within a step until most of their lease has passed. As another
// process may take the build over any moment, they must then not tell QEMU anything, start no
// program and publish no file.
func TestLateProcess(t *testing.T) {
	t.Parallel()
	const lease = 10 * time.Second
	image := func(name string, host *qemu.Host, change func(*bake.Image, *qemu.Builder)) *bake.Image {
		img := &bake.Image{Name: name}
		b := qemu.Builder{Host: host, Accelerator: qemu.TCG}
		change(img, &b)
		img.Builder = b
		return img
	}
	out := filepath.Join(t.TempDir(), "web.qcow2")
	tests := map[string]func(host *qemu.Host, source string) lostBake{
		"power button": func(host *qemu.Host, source string) lostBake {
			img := image("deaf", host, func(_ *bake.Image, b *qemu.Builder) {
				b.Source, b.PowerOff, b.PowerOffTimeout = qemu.DiskFile(source), "true", 300*time.Millisecond
			})
			return lostBake{img, func(e bake.Event) bool { return strings.HasSuffix(e.Text, "pressing its power button") }, "system_powerdown", false}
		},
		"keys": func(host *qemu.Host, _ string) lostBake {
			img := image("installed", host, func(_ *bake.Image, b *qemu.Builder) {
				i := newInstaller(t)
				i.Append += " press-key"
				i.Keys = []qemu.Keys{{Text: "x"}}
				b.Source = i
			})
			return lostBake{img, func(e bake.Event) bool { return e.Text == "machine runs with tcg" }, "send-key", false}
		},
		"capture": func(host *qemu.Host, source string) lostBake {
			img := image("captured", host, func(_ *bake.Image, b *qemu.Builder) { b.Source = qemu.DiskFile(source) })
			return lostBake{img, converted, "", true}
		},
		"output": func(host *qemu.Host, source string) lostBake {
			img := image("published", host, func(img *bake.Image, b *qemu.Builder) {
				b.Source = qemu.DiskFile(source)
				img.Publishers = []bake.Publisher{qemu.QCOW2{Path: out}}
			})
			return lostBake{img, func(e bake.Event) bool { return converted(e) && strings.Contains(e.Text, filepath.Dir(out)) }, "", true}
		},
	}
	var bakes sync.WaitGroup
	for name, prepare := range tests {
		host, source := newHost(t)
		b := prepare(host, source)
		bakes.Go(func() { b.bake(t, name, host, lease) })
	}
	bakes.Wait()
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("output of the late process: %v", err)
	}
}

// bake bakes the image and expects that nothing happens once it is late.
func (b lostBake) bake(t *testing.T, name string, host *qemu.Host, lease time.Duration) {
	t.Helper()
	store := &lostStore{Store: bake.MemoryStore()}
	late, after := false, []string{}
	results, err := bake.Bake(t.Context(), &bake.Options{Store: store, Lease: lease, Observe: func(e bake.Event) {
		if late && e.Kind == bake.CommandStarted {
			after = append(after, e.Text)
		}
		if !late && b.late(e) {
			store.untilLate(lease)
			late = true
		}
	}}, b.image)
	if !late || !errors.Is(err, bake.ErrLeaseLost) || results[0].Status != bake.StatusLost {
		t.Errorf("%s: Bake = %v, late %t, want %v", name, err, late, bake.ErrLeaseLost)
	}
	if len(after) > 0 {
		t.Errorf("%s: the late process began %q", name, after)
	}
	if _, err := host.Newest(b.image.Name); len(b.image.Publishers) == 0 && !errors.Is(err, bake.ErrNoArtifact) {
		t.Errorf("%s: Newest = %v, want %v", name, err, bake.ErrNoArtifact)
	}
	machines, err := host.Machines(t.Context())
	if err != nil || len(machines) != 1 || machines[0].Running == b.ended {
		t.Errorf("%s: Machines() = %+v, %v, want one, which runs: %t", name, machines, err, !b.ended)
	}
	for _, m := range machines {
		told, err := os.ReadFile(filepath.Join(m.Dir, "qmp.log"))
		if err != nil || b.refused != "" && strings.Contains(string(told), b.refused) || strings.Contains(string(told), "quit") {
			t.Errorf("%s: QEMU was told %q by a late process, %v", name, strings.Fields(string(told)), err)
		}
		if err := host.EndMachine(t.Context(), m.ID); err != nil {
			t.Error(err)
		}
	}
}

// converted reports whether qemu-img has converted a disk.
func converted(e bake.Event) bool {
	return e.Kind == bake.CommandFinished && strings.HasPrefix(e.Text, "qemu-img convert")
}
