package ec2

import (
	"context"
	"log/slog"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/guest"
)

// A CleanupItem is a kind of data that booting and provisioning leave in a guest
// and that an AMI should not contain.
type CleanupItem string

// The items that are removed by default.
const (
	ClientKey      CleanupItem = guest.ClientKey      // the build's own key, in every authorized_keys
	CloudInit      CleanupItem = guest.CloudInit      // its record of the instance, including our user data; per-boot scripts stay
	HostKeys       CleanupItem = guest.HostKeys       // sshd's; cloud-init creates new ones on every instance
	MachineID      CleanupItem = guest.MachineID      // systemd's and D-Bus's, which create a new one
	Histories      CleanupItem = guest.Histories      // of shells, pagers and editors, of every user
	Logs           CleanupItem = guest.Logs           // below /var/log: old ones are removed, others emptied
	TemporaryFiles CleanupItem = guest.TemporaryFiles // in /tmp and /var/tmp
	Leases         CleanupItem = guest.Leases         // DHCP leases, names of network cards, the random seed
)

// The items that are removed only if GuestCleanup.Also contains them.
const (
	PackageCaches  CleanupItem = guest.PackageCaches  // of apt, dnf, yum, zypper and apk
	AuthorizedKeys CleanupItem = guest.AuthorizedKeys // of every user, including keys that a provisioner added
)

// A GuestCleanup selects what is removed from the guest before the AMI is created.
// The zero value removes everything that an AMI can do without. Events report what
// was removed, item by item. The guest must run Linux.
type GuestCleanup struct {
	// Off leaves the guest as it is, including the build's public client key.
	Off bool

	// Keep lists items to leave in the guest.
	Keep []CleanupItem

	// Also lists items to remove that are not removed by default.
	Also []CleanupItem
}

// cleanupItems returns the items to remove from the guest; none if its disk is not
// in the AMI.
func (b Builder) cleanupItems() []CleanupItem {
	if b.Capture.Surrogate != nil {
		return nil
	}
	return guest.Cleanup[CleanupItem](b.GuestCleanup).Items()
}

func (b Builder) validateGuestCleanup() []error {
	var errs []error
	guest.Cleanup[CleanupItem](b.GuestCleanup).Validate(func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.GuestCleanup."+field, format, args...))
	})
	return errs
}

// cleanGuest cleans the guest and begins to stop the instance at once. SSH no
// longer accepts connections then, and a process that resumes the build knows from
// the stopping instance that its guest is clean. Spot instances cannot be stopped;
// createStoppedImage cleans them, and the image shows it.
func (s *session) cleanGuest(ctx context.Context) error {
	if s.Instance.Spot {
		return nil
	}
	if err := s.withGuest(ctx, s.clean); err != nil {
		return err
	}
	return s.beginStop(ctx)
}

// withGuest calls do with a connection to the guest: that of the provisioners if it is
// still there.
func (s *session) withGuest(ctx context.Context, do func(ctx context.Context, m bake.Machine) error) error {
	m := s.run.TakeMachine()
	if m == nil {
		var err error
		if m, err = s.Connect(ctx); err != nil {
			return err
		}
	}
	err := do(ctx, m)
	if closeErr := m.Close(); err == nil && closeErr != nil {
		s.run.Log.Debug("closing the connection", slog.String("error", closeErr.Error()))
	}
	return err
}

// clean removes the clean-up items from the guest.
func (s *session) clean(ctx context.Context, m bake.Machine) error {
	return guest.Clean(ctx, m, s.run, s.builder.cleanupItems(), s.Keys)
}
