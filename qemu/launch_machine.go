package qemu

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

const (
	startTimeout = time.Minute            // until QEMU answers; the guest boots meanwhile
	startPoll    = 20 * time.Millisecond  // between attempts to reach it
	endTimeout   = 10 * time.Second       // until it ends when it is told to
	endPoll      = 100 * time.Millisecond // between looks whether it has ended

	tpmEndTimeout = time.Second // until swtpm has ended after QEMU
)

// newMark returns a random UUID.
func newMark() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	const version, variant = 0x40, 0x80
	b[6], b[8] = b[6]&0x0f|version, b[8]&0x3f|variant
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// startMachine starts QEMU, with the first accelerator with which it runs. It adopts a
// machine that another process has started.
func (s *session) startMachine(ctx context.Context) error {
	if adopted, err := s.adopt(ctx); adopted || err != nil {
		return err
	}
	if s.resumed && s.Machine.Port != 0 {
		s.run.Say("the machine has ended with the process that started it: starting it again from its disk")
	}
	if err := s.prepareIgnition(ctx); err != nil {
		return err
	}
	var failed error
	for _, c := range s.builder.Accelerator.choices(s.Machine.Arch) {
		err := s.startWith(ctx, c)
		if err == nil {
			s.run.Created("machine", s.run.ID)
			return nil
		}
		failed = errors.Join(failed, err)
		if ctx.Err() != nil {
			return err
		}
		s.run.Say("QEMU does not run with %s: %v", c.accelerator, err)
	}
	return failed
}

// startWith starts QEMU with an accelerator and waits until it answers.
func (s *session) startWith(ctx context.Context, c choice) error {
	host := s.builder.Host
	program, err := host.program(s.system())
	if err != nil {
		return err
	}
	release, err := host.reserve(ctx, s.run, s.builder.memory())
	if err != nil {
		return err
	}
	if err := bake.CheckLease(ctx); err != nil {
		release()
		return err
	}
	if err := s.removeTraces(); err != nil {
		release()
		return err
	}
	if err := s.startTPM(ctx); err != nil {
		release()
		return err
	}
	s.skipConsole()
	args := s.command(c.accelerator)
	s.run.Log.Debug("starting QEMU", slog.String("command", program+" "+strings.Join(args, " ")))
	s.process, err = startProcess(program, args, s.dir(), logName, s.detached(), release)
	if err == nil {
		err = s.awaitStart(ctx)
	}
	if err != nil {
		ctx = context.WithoutCancel(ctx)
		return errors.Join(err, s.kill(ctx), s.endTPM(ctx))
	}
	s.watchEvents(ctx)
	s.Machine.Accelerator = c.accelerator
	if c.reason != "" {
		s.run.Say("machine runs with %s: %s", c.accelerator, c.reason)
	} else {
		s.run.Say("machine runs with %s", c.accelerator)
	}
	return nil
}

// detached reports whether the machine survives the process that bakes.
func (s *session) detached() bool { return s.builder.Detach || s.run.KeepMachine }

// removeTraces removes what an earlier QEMU has left.
func (s *session) removeTraces() error {
	for _, name := range []string{pidName, socketName, eventsName, screenName, logName} {
		if err := os.Remove(s.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// awaitStart waits until QEMU answers, and learns the port of the guest's SSH server.
func (s *session) awaitStart(ctx context.Context) error {
	limited, stop := context.WithTimeout(ctx, startTimeout)
	defer stop()
	for {
		err := s.identify(limited)
		switch {
		case err == nil:
			return nil
		case s.process != nil && s.process.ended():
			return s.machineError("", nil)
		case limited.Err() != nil && ctx.Err() == nil:
			return s.machineError(fmt.Sprintf("not answering for %v", startTimeout), err)
		}
		if err := clock.System().Sleep(limited, startPoll); err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// identify checks that the QEMU at the socket is the session's, and reads the port that
// it has chosen.
func (s *session) identify(ctx context.Context) error {
	c, err := qmp.Dial(ctx, s.path(socketName))
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the responses have arrived
	var id struct {
		UUID string `json:"UUID"`
	}
	if err := c.Do(ctx, "query-uuid", nil, &id); err != nil {
		return err
	}
	if id.UUID != s.Machine.Mark {
		return fmt.Errorf("QEMU has the UUID %q, want %q", id.UUID, s.Machine.Mark)
	}
	var text string
	if err := c.Do(ctx, "human-monitor-command", map[string]string{"command-line": "info usernet"}, &text); err != nil {
		return err
	}
	s.Machine.Port, err = forwardedPort(text)
	return err
}

// forward matches the line of QEMU's "info usernet" for the guest's SSH server.
var forward = regexp.MustCompile(`TCP\[HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\s`)

// forwardedPort returns the port on loopback that leads to the guest's SSH server.
func forwardedPort(info string) (int, error) {
	found := forward.FindStringSubmatch(info)
	if found == nil {
		return 0, fmt.Errorf("QEMU forwards no port to the guest's SSH server: %q", info)
	}
	return strconv.Atoi(found[1])
}

// adopt reports whether a QEMU of the session runs and answers. One that does not
// answer is killed.
func (s *session) adopt(ctx context.Context) (bool, error) {
	if running, err := s.running(); !running || err != nil {
		return false, err
	}
	err := s.identify(ctx)
	if err == nil {
		s.skipConsole()
		s.watchEvents(ctx)
		s.run.Say("the machine is running already")
		return true, nil
	}
	if ctx.Err() != nil {
		return false, err
	}
	s.run.Say("killing the machine, which does not answer: %v", err)
	return false, s.kill(ctx)
}

// running reports whether a QEMU of the session runs.
func (s *session) running() (bool, error) {
	if s.process != nil {
		return !s.process.ended(), nil
	}
	pid, err := lockHolder(s.path(pidName))
	return pid != 0, err
}

// waitEnd waits until QEMU has ended, by the system clock.
func (s *session) waitEnd(ctx context.Context, timeout time.Duration) error {
	limited, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	if s.process != nil {
		select {
		case <-s.process.done:
			return nil
		case <-limited.Done():
			return context.Cause(limited)
		}
	}
	return clock.WaitFor(limited, clock.System(), endPoll, func(context.Context) (bool, error) {
		running, err := s.running()
		return !running, err
	})
}

// kill kills QEMU, if it runs, and waits for its end.
func (s *session) kill(ctx context.Context) error {
	if running, err := s.running(); !running || err != nil {
		return err
	}
	err := bake.CheckLease(ctx)
	if err != nil {
		return err
	}
	if s.process != nil {
		err = s.process.cmd.Process.Kill()
	} else {
		err = killHolder(s.path(pidName))
	}
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return errors.Join(err, s.waitEnd(ctx, endTimeout))
}

// quitMachine tells QEMU to end, without waiting.
func (s *session) quitMachine(ctx context.Context) error {
	if running, err := s.running(); !running || err != nil {
		return err
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if err := qmp.Do(ctx, s.path(socketName), "quit", nil, nil); err != nil {
		s.run.Log.Debug("quitting QEMU", slog.String("error", err.Error()))
	}
	return nil // endMachine kills it if it does not end
}

// endMachine ends QEMU.
func (s *session) endMachine(ctx context.Context, _ bake.Outcome) error {
	existed := false
	if running, err := s.running(); err != nil {
		return err
	} else if running {
		existed = true
		if err := s.quitMachine(ctx); err != nil {
			return err
		}
		if s.waitEnd(ctx, endTimeout) != nil {
			s.run.Say("killing QEMU, which does not end within %v", endTimeout)
		}
	}
	if err := s.kill(ctx); err != nil {
		return err
	}
	if existed {
		s.run.Removed("machine", s.run.ID)
	}
	s.endEvents()
	s.process = nil
	return s.endTPM(ctx)
}

// Restart reports whether QEMU was killed, as the kernel does when memory is short. The
// build then starts again, once.
func (s *session) Restart(_ context.Context, cause error) bool {
	ended, ok := errors.AsType[*MachineError](cause)
	if !ok || !ended.Killed || s.Relaunches > 0 {
		return false
	}
	s.Relaunches++
	return true
}
