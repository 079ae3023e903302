package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Sweep removes what builds that died have left and that has expired at the given time:
// their machines, disks and unfinished images. It returns the ids of their sessions,
// sorted. An error with one does not stop the others.
//
// Call it regularly, with time.Now(), if bakes may be killed and are not resumed. See
// bake.Options.Lifetime for the expiry.
func (h *Host) Sweep(ctx context.Context, now time.Time) (removed []string, err error) {
	err = h.eachSession(func(id string) error {
		expired, err := h.sweep(ctx, id, now)
		if err == nil && expired {
			removed = append(removed, id)
		}
		return err
	})
	return removed, err
}

// eachSession calls do for each directory of a session, sorted. An error with one does not
// stop the others.
func (h *Host) eachSession(do func(id string) error) error {
	if h.err != nil {
		return h.err
	}
	entries, err := os.ReadDir(h.buildingDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if err := do(e.Name()); err != nil {
			errs = append(errs, fmt.Errorf("session %s: %w", e.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// sweep removes what a session has left if it has expired.
func (h *Host) sweep(ctx context.Context, id string, now time.Time) (expired bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	s, found, err := h.found(id)
	if !found || err != nil || !now.After(s.run.Expires) {
		return false, err
	}
	return true, s.remove(ctx)
}

// found returns the session of a directory, as far as other processes need it. There is
// none if the directory has just been created or is being removed.
func (h *Host) found(id string) (s *session, found bool, err error) {
	data, err := os.ReadFile(filepath.Join(h.buildingDir(), id, runName)) //nolint:gosec // below Host's directory
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	var run runFile
	if err := json.Unmarshal(data, &run); err != nil {
		return nil, false, fmt.Errorf("%s: %w", runName, err)
	}
	if !validName(run.Image) {
		return nil, false, fmt.Errorf("%s has the invalid image name %q", runName, run.Image)
	}
	s = &session{
		builder: Builder{Host: h}, run: bake.NewRun(id, run.Image, nil, nil),
		Machine: machineRecord{Mark: run.Mark, Login: run.Login},
	}
	s.run.Expires = run.Expires
	return s, true, nil
}

// remove ends the machine and removes what the session has left.
func (s *session) remove(ctx context.Context) error {
	if err := s.endMachine(ctx, bake.Failed); err != nil {
		return err
	}
	good, err := exists(filepath.Join(s.imageDir(), artifactName))
	if err == nil && !good {
		err = removeImage(s.imageDir(), nil)
	}
	if err != nil {
		return err
	}
	return s.removeDisk(ctx, bake.Failed)
}
