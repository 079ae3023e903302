package qemu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/atomicfile"
	"github.com/bakestone-go/bakestone/internal/guest"
	"github.com/bakestone-go/bakestone/qemu/internal/qmp"
)

func (b Builder) powerOffTimeout() time.Duration {
	return cmp.Or(b.PowerOffTimeout, defaultPowerOffTimeout)
}

// powerOff is the default of Builder.PowerOff. In a container-like guest not all of
// these exist.
const powerOff = "systemctl --no-block poweroff 2>/dev/null || poweroff || shutdown -P now || halt -p"

// trimCommand gives unused blocks back. Without the first sync, blocks of files that were just
// removed are still in use; the last is for the trim itself. It prints a line for each file
// system, and none for those that cannot be trimmed.
const trimCommand = "sync; LC_ALL=C fstrim -av && sync"

// cleanGuest cleans the guest, trims its file systems and makes it power down: SSH
// accepts no further connections then. A resumed build sees from the file that it writes
// that the guest is clean.
func (s *session) cleanGuest(ctx context.Context) error {
	if cleaned, err := s.cleaned(); cleaned || err != nil {
		return err // by another process, which may not have asked the guest to power down
	}
	m, err := s.reconnect(ctx)
	if err != nil {
		return err
	}
	err = s.clean(ctx, m)
	if closeErr := m.Close(); err == nil && closeErr != nil {
		s.run.Log.Debug("closing the connection", slog.String("error", closeErr.Error()))
	}
	return err
}

// cleaned reports whether another process has cleaned the guest. A machine that was killed
// afterwards, before it had powered down, must boot and be cleaned again.
func (s *session) cleaned() (bool, error) {
	cleaned, err := exists(s.path(cleanName))
	if err != nil || !cleaned {
		return false, err
	}
	running, err := s.running()
	if err != nil || running || s.endedOrderly() {
		return true, err
	}
	s.run.Say("the machine was killed before it had powered down: cleaning the guest again")
	return false, os.Remove(s.path(cleanName))
}

// reconnect returns a connection to the guest: that of the provisioners if it is still
// there. If another process may have begun to clean it and it accepts no logins, it is
// started again: it then takes its keys from the seed once more.
func (s *session) reconnect(ctx context.Context) (bake.Machine, error) {
	if m := s.run.TakeMachine(); m != nil {
		return m, nil
	}
	if !s.resumed {
		return s.connect(ctx, s.builder.SSH.connectTimeout())
	}
	running, err := s.running()
	if err != nil {
		return nil, err
	}
	if running {
		if _, err := s.adopt(ctx); err != nil {
			return nil, err
		}
		m, err := s.connect(ctx, reopenTimeout)
		if err == nil || ctx.Err() != nil {
			s.resumed = err != nil
			return m, err
		}
		s.run.Say("the guest accepts no logins; the process that ended had perhaps begun to clean it")
		if err := s.endMachine(ctx, bake.Failed); err != nil {
			return nil, err
		}
	}
	return s.Connect(ctx)
}

// trim gives unused blocks back, or says that it did not.
func (s *session) trim(ctx context.Context, m bake.Machine) error {
	out, err := bake.Output(ctx, m, &bake.Cmd{Line: trimCommand, Sudo: true})
	_, failed := errors.AsType[*bake.ExitError](err)
	switch {
	case err != nil && !failed:
		return err
	case err == nil && !strings.Contains(out, " trimmed"):
		err = errors.New("fstrim finds no file system to trim")
	}
	if err != nil {
		s.run.Say("the image keeps the contents of deleted files: %v", err)
	}
	return nil
}

// clean cleans the guest over a connection and makes it power down.
func (s *session) clean(ctx context.Context, m bake.Machine) error {
	// Before the keys are removed: a guest that is started again then gets them once more.
	if err := s.rearm(ctx, m); err != nil {
		return err
	}
	items := guest.Cleanup[CleanupItem](s.builder.GuestCleanup).Items()
	if err := guest.Clean(ctx, m, s.run, items, s.Keys); err != nil {
		return err
	}
	if err := s.forgetFirstBoot(ctx, m); err != nil {
		return err
	}
	if !s.builder.Capture.NoTrim {
		if err := s.trim(ctx, m); err != nil {
			return err
		}
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if err := atomicfile.Write(s.path(cleanName), nil, privateFile); err != nil {
		return err
	}
	// The guest may end, and kill the command, before it reports the result.
	err := m.Run(ctx, &bake.Cmd{Line: cmp.Or(s.builder.PowerOff, powerOff), Sudo: true})
	if ended, ok := errors.AsType[*bake.ExitError](err); errors.Is(err, bake.ErrDisconnected) || ok && ended.Signal != "" {
		return nil // waitPowerOff sees whether it powers down
	}
	return err
}

// waitPowerOff waits until the guest has powered down. If the machine was killed with the
// process that had cleaned the guest, it is cleaned again.
func (s *session) waitPowerOff(ctx context.Context) error {
	resumed := s.resumed
	if err := s.waitOff(ctx, resumed); err != nil {
		return err
	}
	if resumed && !s.endedOrderly() {
		if err := s.cleanGuest(ctx); err != nil {
			return err
		}
		if err := s.waitOff(ctx, false); err != nil {
			return err
		}
	}
	s.resumed = false
	if ended := s.machineError("", nil); ended.Killed || s.process != nil && s.process.err != nil {
		return fmt.Errorf("the disk may be inconsistent: %w", ended)
	}
	s.run.Removed("machine", s.run.ID)
	s.endEvents()
	s.process = nil
	if err := s.endTPM(ctx); err != nil {
		return err
	}
	return nil
}

// waitOff waits for the end of QEMU. If the guest's command has no effect, or may not have
// been run, it presses the power button.
func (s *session) waitOff(ctx context.Context, pressNow bool) error {
	timeout := s.builder.powerOffTimeout()
	running, err := s.running()
	if err != nil {
		return err
	}
	if running && pressNow {
		s.pressButton(ctx)
	}
	const patience = 3
	err = s.waitEnd(ctx, timeout/patience)
	if err == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.run.Say("the guest has not powered down within %v: pressing its power button", timeout/patience)
	s.pressButton(ctx)
	err = s.waitEnd(ctx, timeout-timeout/patience)
	if err == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.machineError("still running "+timeout.String()+" after it was told to power down (Builder.PowerOff, Builder.PowerOffTimeout)", nil)
}

// pressButton sends the guest an ACPI event.
func (s *session) pressButton(ctx context.Context) {
	err := bake.CheckLease(ctx)
	if err == nil {
		err = qmp.Do(ctx, s.path(socketName), "system_powerdown", nil, nil)
	}
	if err != nil {
		s.run.Log.Debug("pressing the power button", slog.String("error", err.Error()))
	}
}

// imageDir returns the directory of the image.
func (s *session) imageDir() string {
	return filepath.Join(s.builder.Host.imagesDir(), s.run.Image, s.run.ID)
}

// writeImage writes the machine's disks as standalone files, and checks them.
func (s *session) writeImage(ctx context.Context) error {
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.imageDir(), privateDir); err != nil {
		return err
	}
	var files []DataFile
	for _, d := range s.Machine.Disks {
		file, err := s.captureDisk(ctx, d)
		if err != nil {
			return err
		}
		files = append(files, file)
	}
	first := files[0]
	s.Image = imageRecord{
		Captured: true, Size: first.Size, FileSize: first.FileSize, SHA256: first.SHA256,
		Data: files[1:], Created: s.run.Clock.Now().UTC(),
	}
	if err := s.keepVars(ctx); err != nil {
		return err
	}
	s.run.Created("image", first.Path)
	return nil
}

// syncFile writes a file of another process to the medium.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // below Host's directory
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// discardImage removes the image unless the build has succeeded.
func (s *session) discardImage(ctx context.Context, outcome bake.Outcome) error {
	if outcome == bake.Succeeded {
		return nil
	}
	if err := bake.CheckLease(ctx); err != nil {
		return err
	}
	return removeImage(s.imageDir(), s.run)
}

// removeImage removes an image's directory, and the directory of its name if it was
// the last.
func removeImage(dir string, run *bake.Run) error {
	there, err := exists(dir)
	if err != nil || !there {
		return err
	}
	// Without its record the image is invisible, should the rest fail.
	if err := os.Remove(filepath.Join(dir, artifactName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(dir)) // fails while there are others
	if run != nil {
		run.Removed("image", filepath.Join(dir, diskName))
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
