package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/visible"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

// watchEvery is the time between two looks at a machine that the build uses, by the
// system clock.
const watchEvery = time.Second

// endingFor is how long a machine may take to end after a connection was lost: a guest
// ends its SSH server some seconds before it powers down.
const endingFor = 10 * time.Second

// during calls f with a context that ends when the machine has ended or cannot go on.
// The error is then a *MachineError that wraps bake.ErrDisconnected.
func (s *session) during(ctx context.Context, f func(ctx context.Context) error) error {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before := s.events.count()
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(limited, cancel) })
	err := f(limited)
	cause := context.Cause(limited)
	cancel(nil)
	watching.Wait()
	if err == nil || ctx.Err() != nil {
		return err
	}
	ended, found := errors.AsType[*MachineError](cause)
	if !found && errors.Is(err, bake.ErrDisconnected) {
		// A lost connection may be the first sign, just before the end of QEMU.
		ended, found = errors.AsType[*MachineError](s.lookAgain(ctx))
	}
	if !found && errors.Is(err, bake.ErrDisconnected) {
		ended = s.machineError("running, but the connection to it was lost"+s.events.explain(before), nil)
	} else if !found {
		return err
	}
	if !errors.Is(err, bake.ErrDisconnected) {
		err = bake.ErrDisconnected
	}
	return fmt.Errorf("%w: %w", err, ended)
}

// watch cancels when the machine has ended or cannot go on.
func (s *session) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	var done <-chan struct{} // never, if another process has started QEMU
	if s.process != nil {
		done = s.process.done
	}
	ticks := time.NewTicker(watchEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done:
		case <-ticks.C:
		}
		if err := s.look(ctx); err != nil {
			if ctx.Err() == nil {
				cancel(err)
			}
			return
		}
	}
}

// lookAgain looks at a machine whose connection was lost until it has shown an error or
// endingFor has passed.
func (s *session) lookAgain(ctx context.Context) error {
	limited, stop := context.WithTimeout(ctx, endingFor)
	defer stop()
	var ended error
	_ = clock.WaitFor(limited, clock.System(), endPoll, func(ctx context.Context) (bool, error) {
		ended = s.look(ctx)
		return ended != nil, nil
	})
	return ended
}

// look returns a *MachineError if the machine has ended or cannot go on.
func (s *session) look(ctx context.Context) error {
	if running, err := s.running(); err == nil && !running {
		return s.machineError("", nil)
	}
	var status struct {
		Status string `json:"status"`
	}
	if err := qmp.Do(ctx, s.path(socketName), "query-status", nil, &status); err != nil {
		return nil //nolint:nilerr // it may be ending, or slow; the connection tells
	}
	switch {
	case status.Status == "io-error":
		return s.machineError("stopped: its disk cannot be written (io-error), perhaps because the file system of "+s.builder.Host.Dir()+" is full", nil)
	case slices.Contains([]string{"internal-error", "guest-panicked"}, status.Status):
		return s.machineError("stopped: "+status.Status, nil)
	}
	return s.checkConsole()
}

// mostConsole limits the recorded console, since it is not in the guest's disk that a
// runaway guest would fill, but in the host's.
const mostConsole = 256 << 20

// lastWords matches what Linux prints when it will do nothing more, for guests without a
// driver for pvpanic.
var lastWords = regexp.MustCompile(`(?m)^(?:\[ *[0-9]+\.[0-9]+\] )?(Kernel panic - not syncing|reboot: System halted)`)

// stuck matches the last lines of Linux that does not finish its boot and waits for a person at its
// console: of Ignition, and of the emergency shells of CoreOS, systemd and initramfs-tools.
var stuck = regexp.MustCompile(`[\r\n][^\r\n]*?(Ignition failed: [^\r\n]*[\r\n]|Press Enter for (?:emergency shell|(?:system )?maintenance)|` +
	`You are in emergency mode|Give root password for maintenance|Cannot open access to console, the root account is locked|\(initramfs\) $)`)

// checkConsole reports a guest that prints without end, and one whose console tells that it
// has ended or does not finish its boot.
func (s *session) checkConsole() error {
	f, err := os.Open(s.path(consoleName))
	if err != nil {
		return nil // there is none yet
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	if info.Size() > mostConsole {
		return s.machineError(fmt.Sprintf("printing too much: its console has more than %d MiB", mostConsole>>20), nil)
	}
	const mostRead = 8 << 10
	from := max(s.consoleFrom, info.Size()-mostRead)
	text := make([]byte, max(0, info.Size()-from))
	n, _ := f.ReadAt(text, from) // what there is
	if found := lastWords.FindSubmatch(text[:n]); found != nil {
		return s.machineError("not working any more: "+string(found[1]), nil)
	}
	if found := stuck.FindSubmatch(text[:n]); found != nil && s.booting {
		const longest = 300
		return s.machineError("stuck while it boots: "+visible.Shorten(s.run.Redact(string(bytes.TrimSpace(found[1]))), longest), nil)
	}
	return nil
}

// skipConsole ignores what the console contains of earlier machines.
func (s *session) skipConsole() {
	s.consoleFrom = 0
	if info, err := os.Stat(s.path(consoleName)); err == nil {
		s.consoleFrom = info.Size()
	}
}
