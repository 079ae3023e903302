package qemu

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

// installer returns what writes the disk first, or nil if the source has one.
func (s *session) installer() *Installer {
	if s.run.Checks || s.run.Source != nil || s.builder.Source == nil {
		return nil
	}
	return s.builder.Source.installer()
}

func (i *Installer) timeout() time.Duration { return cmp.Or(i.Timeout, defaultInstallTimeout) }

// install boots the installer and waits until it has written the disk. The machine is the
// build's, with the installer's media and without the seed. Nothing of an installation that
// was interrupted is used: the disk is emptied first.
func (s *session) install(ctx context.Context) (err error) {
	i := s.installer()
	if err := s.endMachine(ctx, bake.Failed); err != nil { // a repeated step
		return err
	}
	if err := s.createLayers(ctx); err != nil {
		return err
	}
	server, err := serveAnswers(ctx, s.run, i)
	if err != nil {
		return err
	}
	defer server.stop()
	if i.Label != "" {
		medium, err := i.medium(server.told, s.run.Clock.Now())
		if err == nil {
			err = bake.CheckLease(ctx)
		}
		if err == nil {
			err = atomicfile.Write(s.path(answersName), medium, privateFile)
		}
		if err != nil {
			return err
		}
	}
	s.installing = &installArgs{installation: s.Install, installer: i, append: server.told.append}
	defer func() { s.installing = nil }()
	if err := s.startMachine(ctx); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.endMachine(context.WithoutCancel(ctx), bake.Failed))
	}()
	if err := s.awaitInstalled(ctx, i, server); err != nil {
		return err
	}
	if err := s.checkBootSector(ctx); err != nil {
		return err
	}
	s.run.Say("the installation has ended: %s", s.ending(ctx))
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	return os.Rename(s.path(consoleName), s.path(installLogName))
}

// awaitInstalled types the keys and waits for the end of QEMU.
func (s *session) awaitInstalled(ctx context.Context, i *Installer, server *answerServer) error {
	limited, stop := context.WithTimeoutCause(ctx, i.timeout(), errInstallTimeout)
	defer stop()
	err := s.during(limited, func(ctx context.Context) error {
		if err := s.typeKeys(ctx, i.Keys, server.told.keys); err != nil {
			return err
		}
		return s.awaitEnd(ctx, i, server)
	})
	state := ""
	switch {
	case errors.Is(context.Cause(limited), errInstallTimeout):
		state = fmt.Sprintf("still installing after %v (Installer.Timeout)", i.timeout())
	case errors.Is(err, errStalled):
		state, err = fmt.Sprintf("installing, but without access to disk, ISO image and files for %v (Installer.StallTimeout): it hangs or waits for an answer", cmp.Or(i.StallTimeout, defaultStallTimeout)), nil
	}
	if state != "" {
		if i.Files != nil && server.requests.Load() == 0 {
			state += "; it has asked for none of Installer.Files"
		}
		return s.machineError(state, nil)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ended, ok := errors.AsType[*MachineError](err)
	if !ok {
		return err
	}
	// During reports each end of QEMU as an error. This is how an installation ends.
	if ended.State != poweredDown {
		return ended
	}
	if reason := s.ending(ctx); reason != "guest-shutdown" && reason != "guest-reset" {
		ended.State = "ended: " + cmp.Or(reason, "QEMU reported no reason")
		return ended
	}
	return nil
}

var (
	errInstallTimeout = errors.New("the installation takes too long")
	errStalled        = errors.New("the installer does nothing")
)

// awaitEnd waits for ever, or until the installer has done nothing for a while.
func (s *session) awaitEnd(ctx context.Context, i *Installer, server *answerServer) error {
	const looks = 20 // in the time that may pass
	limit := cmp.Or(i.StallTimeout, defaultStallTimeout)
	ticks := time.NewTicker(max(limit/looks, watchEvery))
	defer ticks.Stop()
	last, since := int64(-1), time.Now()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticks.C:
		}
		work, err := s.work(ctx)
		if err != nil {
			continue // QEMU is ending, or slow
		}
		if work += server.requests.Load(); work != last {
			last, since = work, time.Now()
		} else if time.Since(since) >= limit {
			return errStalled
		}
	}
}

// work returns a number that changes whenever the guest reads or writes a disk.
func (s *session) work(ctx context.Context) (int64, error) {
	var disks []struct {
		Stats struct {
			Reads  int64 `json:"rd_operations"`
			Writes int64 `json:"wr_operations"`
		} `json:"stats"`
	}
	err := qmp.Do(ctx, s.path(socketName), "query-blockstats", nil, &disks)
	sum := int64(0)
	for _, d := range disks {
		sum += d.Stats.Reads + d.Stats.Writes
	}
	return sum, err
}

// checkBootSector reports a disk that nothing was installed on.
func (s *session) checkBootSector(ctx context.Context) error {
	sector := s.path(sectorName)
	_, err := s.builder.Host.img(ctx, s.run, "dd", "-f", "qcow2", "-O", "raw", fmt.Sprintf("bs=%d", sectorSize), "count=1", "if="+s.path(diskName), "of="+sector)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(sector) //nolint:gosec // below Host's directory
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(data, []byte(bootSignature)) {
		ended := s.machineError("", nil)
		ended.State = "ended (" + s.ending(ctx) + "), but the disk has no boot sector: nothing was installed"
		return ended
	}
	return os.Remove(sector)
}
