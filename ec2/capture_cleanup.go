package ec2

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A CleanupItem is a kind of data that booting and provisioning leave in a guest
// and that an AMI should not contain.
type CleanupItem string

// The items that are removed by default.
const (
	ClientKey      CleanupItem = "client-key"      // the build's own key, in every authorized_keys
	CloudInit      CleanupItem = "cloud-init"      // its record of the instance, including our user data; per-boot scripts stay
	HostKeys       CleanupItem = "host-keys"       // sshd's; cloud-init creates new ones on every instance
	MachineID      CleanupItem = "machine-id"      // systemd's and D-Bus's, which create a new one
	Histories      CleanupItem = "histories"       // of shells, pagers and editors, of every user
	Logs           CleanupItem = "logs"            // below /var/log: old ones are removed, others emptied
	TemporaryFiles CleanupItem = "temporary-files" // in /tmp and /var/tmp
	Leases         CleanupItem = "leases"          // DHCP leases, names of network cards, the random seed
)

// The items that are removed only if GuestCleanup.Also contains them.
const (
	PackageCaches  CleanupItem = "package-caches"  // of apt, dnf, yum, zypper and apk
	AuthorizedKeys CleanupItem = "authorized-keys" // of every user, including keys that a provisioner added
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

func defaultCleanupItems() []CleanupItem {
	return []CleanupItem{ClientKey, CloudInit, HostKeys, MachineID, Histories, Logs, TemporaryFiles, Leases}
}

func allCleanupItems() []CleanupItem {
	return append(defaultCleanupItems(), PackageCaches, AuthorizedKeys)
}

// items returns the items to remove, in order of removal.
func (c GuestCleanup) items() []CleanupItem {
	return slices.DeleteFunc(allCleanupItems(), func(i CleanupItem) bool {
		return c.Off || slices.Contains(c.Keep, i) || !slices.Contains(defaultCleanupItems(), i) && !slices.Contains(c.Also, i)
	})
}

// cleanupItems returns the items to remove from the guest; none if its disk is not
// in the AMI.
func (b Builder) cleanupItems() []CleanupItem {
	if b.Capture.Surrogate != nil {
		return nil
	}
	return b.GuestCleanup.items()
}

func (b Builder) validateGuestCleanup() []error {
	var errs []error
	invalid := func(field, format string, args ...any) {
		errs = append(errs, bake.Invalid("Builder.GuestCleanup."+field, format, args...))
	}
	c := b.GuestCleanup
	for field, list := range map[string][]CleanupItem{"Keep": c.Keep, "Also": c.Also} {
		for _, i := range list {
			if !slices.Contains(allCleanupItems(), i) {
				invalid(field, "unknown item %q", string(i))
			}
			if field == "Also" && slices.Contains(c.Keep, i) {
				invalid("Also", "%s is in Keep as well", i)
			}
		}
		if c.Off && len(list) > 0 {
			invalid(field, "cannot be set together with Off")
		}
	}
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

// withGuest calls do with a new connection to the guest.
func (s *session) withGuest(ctx context.Context, do func(ctx context.Context, m bake.Machine) error) error {
	m, err := s.Connect(ctx)
	if err != nil {
		return err
	}
	err = do(ctx, m)
	if closeErr := m.Close(); err == nil && closeErr != nil {
		s.run.Log.Debug("closing the connection", slog.String("error", closeErr.Error()))
	}
	return err
}

// clean removes the clean-up items from the guest. sshd accepts no new connections
// without its host keys, so later commands must use m.
func (s *session) clean(ctx context.Context, m bake.Machine) error {
	items := s.builder.cleanupItems()
	if len(items) == 0 {
		return nil
	}
	names := make([]string, 0, len(items))
	for _, i := range items {
		names = append(names, string(i))
	}
	const longestReport = 16 << 20
	report, err := bake.OutputLimit(ctx, m, &bake.Cmd{
		Line: cleanScript,
		Env:  map[string]string{"BAKESTONE_ITEMS": strings.Join(names, " "), "BAKESTONE_KEY": s.Keys.clientBlobs()},
		Sudo: true,
	}, longestReport)
	s.reportCleanup(report)
	return err
}

// reportCleanup reports what the script printed that it removed: an item and a path
// in each line.
func (s *session) reportCleanup(report string) {
	removed := map[string][]string{}
	var order []string
	for line := range strings.Lines(report) {
		item, path, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		if removed[item] == nil {
			order = append(order, item)
		}
		removed[item] = append(removed[item], path)
	}
	const mostShown = 8
	for _, item := range order {
		paths := removed[item]
		text, more := strings.Join(paths[:min(len(paths), mostShown)], ", "), len(paths)-mostShown
		if more > 0 {
			s.run.Say("clean-up: removed %s: %s and %d more", item, text, more)
		} else {
			s.run.Say("clean-up: removed %s: %s", item, text)
		}
	}
}

// cleanScript removes $BAKESTONE_ITEMS and prints what it removed. It is idempotent.
// Current logs are emptied rather than removed, since their writers may expect them
// to exist with their owner and mode.
const cleanScript = `set -e
removed() { printf '%s\t%s\n' "$item" "$1"; }
remove() {
	for path in "$@"; do
		if [ -e "$path" ] || [ -L "$path" ]; then rm -rf "$path"; removed "$path"; fi
	done
}
empty() {
	for path in "$@"; do
		if [ -f "$path" ] && [ ! -L "$path" ] && [ -s "$path" ]; then : >"$path"; removed "$path"; fi
	done
}
forget_key() {
	if [ -n "$BAKESTONE_KEY" ] && [ -f "$1" ] && grep -qF "$BAKESTONE_KEY" "$1"; then
		others=$(grep -vF "$BAKESTONE_KEY" "$1" || true)
		if [ -n "$others" ]; then printf '%s\n' "$others" >"$1"; else : >"$1"; fi
		removed "$1"
	fi
}
homes=$(cut -d: -f6 /etc/passwd | sort -u)
for item in $BAKESTONE_ITEMS; do
	case $item in
	client-key)
		for home in $homes; do forget_key "$home/.ssh/authorized_keys"; done ;;
	authorized-keys)
		for home in $homes; do empty "$home/.ssh/authorized_keys"; done ;;
	cloud-init)
		remove /var/lib/cloud/instance /var/lib/cloud/instances /var/lib/cloud/data ;;
	host-keys)
		remove /etc/ssh/ssh_host_* ;;
	machine-id)
		empty /etc/machine-id
		[ -L /var/lib/dbus/machine-id ] || remove /var/lib/dbus/machine-id ;;
	histories)
		for home in $homes; do
			remove "$home"/.[!.]*_history "$home/.lesshst" "$home/.viminfo" "$home/.wget-hsts"
		done ;;
	logs)
		find /var/log -type f 2>/dev/null | while read -r log; do
			case $log in
			/var/log/journal/*|*.gz|*.xz|*.bz2|*.zst|*.old|*.[0-9]|*.[0-9][0-9]|*-20[0-9][0-9][0-9][0-9][0-9][0-9]) remove "$log" ;;
			*) empty "$log" ;;
			esac
		done ;;
	temporary-files)
		remove /tmp/* /tmp/.[!.]* /var/tmp/* /var/tmp/.[!.]* ;;
	leases)
		remove /var/lib/dhcp/*.leases /var/lib/dhclient/*.lease* /var/lib/NetworkManager/*.lease
		remove /etc/udev/rules.d/70-persistent-net.rules /var/lib/systemd/random-seed ;;
	package-caches)
		remove /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/lib/apt/lists/*_*
		remove /var/cache/dnf/* /var/cache/yum/* /var/cache/zypp/packages/* /var/cache/apk/* ;;
	esac
done
sync
`
