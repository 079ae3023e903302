package qemu

import (
	"context"
	"fmt"
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
	var machines []Machine
	err := h.eachSession(func(id string) error {
		s, found, err := h.found(id)
		if err != nil || !found {
			return err
		}
		running, err := s.running()
		if err != nil {
			return err
		}
		m := Machine{ID: id, Image: s.run.Image, Running: running, Login: s.Machine.Login, Expires: s.run.Expires, Dir: s.dir()}
		if running && s.answers(ctx) {
			m.Address = s.address()
		}
		machines = append(machines, m)
		return nil
	})
	return machines, err
}

// answers reports whether QEMU answers in time, and learns the port of the guest.
func (s *session) answers(ctx context.Context) bool {
	ctx, stop := context.WithTimeout(ctx, endTimeout)
	defer stop()
	return s.identify(ctx) == nil
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
	s, found, err := h.found(id)
	if !found || err != nil {
		return err
	}
	return s.remove(ctx)
}
