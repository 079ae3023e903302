package guest

import (
	"context"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// The items that are removed by default.
const (
	ClientKey      = "client-key"      // the build's own key, in every authorized_keys
	CloudInit      = "cloud-init"      // its record of the machine, including our user data; per-boot scripts stay
	HostKeys       = "host-keys"       // sshd's; cloud-init creates new ones on every machine
	MachineID      = "machine-id"      // systemd's and D-Bus's, which create a new one
	Histories      = "histories"       // of shells, pagers and editors, of every user
	Logs           = "logs"            // below /var/log: old ones are removed, others emptied
	TemporaryFiles = "temporary-files" // in /tmp and /var/tmp
	Leases         = "leases"          // DHCP leases, names of network cards, the random seed
)

// The items that are removed only on request.
const (
	PackageCaches  = "package-caches"  // of apt, dnf, yum, zypper and apk
	AuthorizedKeys = "authorized-keys" // of every user, including keys that a provisioner added
)

// A Cleanup selects what is removed from the guest before its disk is captured. T is
// the platform's type of an item.
type Cleanup[T ~string] struct {
	Off  bool // leave the guest as it is
	Keep []T  // items to leave in the guest
	Also []T  // items to remove that are not removed by default
}

func defaultItems[T ~string]() []T {
	return []T{ClientKey, CloudInit, HostKeys, MachineID, Histories, Logs, TemporaryFiles, Leases}
}

func allItems[T ~string]() []T { return append(defaultItems[T](), PackageCaches, AuthorizedKeys) }

// Items returns the items to remove, in order of removal.
func (c Cleanup[T]) Items() []T {
	return slices.DeleteFunc(allItems[T](), func(i T) bool {
		return c.Off || slices.Contains(c.Keep, i) || !slices.Contains(defaultItems[T](), i) && !slices.Contains(c.Also, i)
	})
}

// Validate reports unknown items and fields that contradict each other.
func (c Cleanup[T]) Validate(invalid func(field, format string, args ...any)) {
	for field, list := range map[string][]T{"Keep": c.Keep, "Also": c.Also} {
		for _, i := range list {
			if !slices.Contains(allItems[T](), i) {
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
}

// Clean removes items from the guest m and reports to run what it removed. Keys are
// those of the build. sshd accepts no new connections without its host keys, so later
// commands must use m.
func Clean[T ~string](ctx context.Context, m bake.Machine, run *bake.Run, items []T, keys Keys) error {
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
		Env:  map[string]string{"BAKESTONE_ITEMS": strings.Join(names, " "), "BAKESTONE_KEY": keys.ClientBlobs()},
		Sudo: true,
	}, longestReport)
	reportCleanup(run, report)
	return err
}

// reportCleanup reports what the script printed that it removed: an item and a path
// in each line.
func reportCleanup(run *bake.Run, report string) {
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
			run.Say("clean-up: removed %s: %s and %d more", item, text, more)
		} else {
			run.Say("clean-up: removed %s: %s", item, text)
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
		for home in $homes; do
			for file in "$home/.ssh/authorized_keys" "$home"/.ssh/authorized_keys.d/*; do forget_key "$file"; done
		done ;;
	authorized-keys)
		for home in $homes; do empty "$home/.ssh/authorized_keys" "$home"/.ssh/authorized_keys.d/*; done ;;
	cloud-init)
		# A stage that still runs, or is yet to begin, would write its state again.
		if command -v cloud-init >/dev/null 2>&1; then
			limit=
			if command -v timeout >/dev/null 2>&1; then limit='timeout 300'; fi
			$limit cloud-init status --wait >/dev/null 2>&1 || true
		fi
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
		# Or journald, whose journals are removed here, begins new ones.
		if command -v journalctl >/dev/null 2>&1; then journalctl --relinquish-var >/dev/null 2>&1 || true; fi
		find /var/log -type f 2>/dev/null | while read -r log; do
			case $log in
			/var/log/journal/*|*.gz|*.xz|*.bz2|*.zst|*.old|*.[0-9]|*.[0-9][0-9]|*-20[0-9][0-9][0-9][0-9][0-9][0-9]) remove "$log" ;;
			*) empty "$log" ;;
			esac
		done
		for journal in /var/log/journal/*; do rmdir "$journal" 2>/dev/null && removed "$journal" || true; done ;;
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
