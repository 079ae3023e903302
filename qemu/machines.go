package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A Machine is a machine of a build on the Host, whichever process has started it.
type Machine struct {
	ID      string    // of the session, as in bake.KeptMachine.Machine
	Image   string    // the name of the image
	Running bool      // or only its disks are left
	Address string    // of its SSH server, while it runs and answers
	Login   string    // of the build
	Expires time.Time // when it shuts itself down and Sweep removes it
	Dir     string    // its directory: console.log, qemu.log, and vnc.sock if it survives the program
}

// Machines returns the machines of all builds, those of living processes as well, sorted
// by id. An error with one does not hide the others.
func (h *Host) Machines(ctx context.Context) ([]Machine, error) {
	if h.err != nil {
		return nil, h.err
	}
	entries, err := os.ReadDir(h.buildingDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var machines []Machine
	var errs []error
	for _, e := range entries {
		s, err := h.found(e.Name())
		if err == nil && s != nil {
			var running bool
			if running, err = s.running(); err == nil {
				m := Machine{ID: e.Name(), Image: s.run.Image, Running: running, Login: s.Machine.Login, Expires: s.run.Expires, Dir: s.dir()}
				if running && s.identify(ctx) == nil {
					m.Address = s.address()
				}
				machines = append(machines, m)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("session %s: %w", e.Name(), err))
		}
	}
	return machines, errors.Join(errs...)
}

// EndMachine ends the machine with an id, such as bake.KeptMachine.Machine, and removes its
// disks. It does so even if a build still uses it. It succeeds if there is none.
func (h *Host) EndMachine(ctx context.Context, id string) error {
	if h.err != nil {
		return h.err
	}
	if id == "" || id != filepath.Base(id) || id == "." || id == ".." {
		return fmt.Errorf("invalid id %q", id)
	}
	s, err := h.found(id)
	if s == nil || err != nil {
		return err
	}
	return s.remove(ctx)
}
