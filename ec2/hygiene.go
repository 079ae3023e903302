package ec2

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
)

// A Trace is something that stays in a guest which was booted and worked on, and
// that an image should not have: ClientKey, CloudInit, HostKeys, MachineID,
// Histories, Logs, TemporaryFiles and Leases are removed by default,
// PackageCaches and AuthorizedKeys on request.
type Trace string

// The traces. All but the last two are removed by default.
const (
	ClientKey      Trace = "client-key"      // the bake's own key, in every authorized_keys
	CloudInit      Trace = "cloud-init"      // its record of this instance, with our user data; per-boot scripts stay
	HostKeys       Trace = "host-keys"       // of sshd; cloud-init makes new ones for every instance
	MachineID      Trace = "machine-id"      // of systemd and D-Bus, which make a new one
	Histories      Trace = "histories"       // of shells, pagers and editors, of every user
	Logs           Trace = "logs"            // below /var/log: old ones are removed, others emptied
	TemporaryFiles Trace = "temporary-files" // in /tmp and /var/tmp
	Leases         Trace = "leases"          // of DHCP, names of network cards, the random seed

	PackageCaches  Trace = "package-caches"  // of apt, dnf, yum, zypper, apk
	AuthorizedKeys Trace = "authorized-keys" // everybody's, also those that a provisioner put there
)

// Hygiene says which traces are removed from the guest before the AMI is made.
// The zero value removes all that an image can do without. What was removed is
// reported, trace by trace. The guest must be Linux.
type Hygiene struct {
	// Off leaves the guest as it is, with the public half of the client's key.
	Off bool

	// Keep are traces to leave alone.
	Keep []Trace

	// Also are traces to remove that are not by default.
	Also []Trace
}

func usualTraces() []Trace {
	return []Trace{ClientKey, CloudInit, HostKeys, MachineID, Histories, Logs, TemporaryFiles, Leases}
}

// traces are those to remove, in the order in which that is done.
func (h Hygiene) traces() []Trace {
	return slices.DeleteFunc(append(usualTraces(), PackageCaches, AuthorizedKeys), func(t Trace) bool {
		return h.Off || slices.Contains(h.Keep, t) || !slices.Contains(usualTraces(), t) && !slices.Contains(h.Also, t)
	})
}

// traces are those of a guest whose disk is in the AMI.
func (b Builder) traces() []Trace {
	if b.Capture.Surrogate != nil {
		return nil
	}
	return b.Hygiene.traces()
}

func (b Builder) validateHygiene() []error {
	var errs []error
	h := b.Hygiene
	known := append(usualTraces(), PackageCaches, AuthorizedKeys)
	for field, list := range map[string][]Trace{"Keep": h.Keep, "Also": h.Also} {
		for _, t := range list {
			if !slices.Contains(known, t) {
				errs = append(errs, bake.Invalid("Builder.Hygiene."+field, "%q is no trace", string(t)))
			}
			if field == "Also" && slices.Contains(h.Keep, t) {
				errs = append(errs, bake.Invalid("Builder.Hygiene.Also", "%s is in Keep too", t))
			}
		}
		if h.Off && len(list) > 0 {
			errs = append(errs, bake.Invalid("Builder.Hygiene."+field, "is set although Off is"))
		}
	}
	return errs
}

// cleanGuest removes the traces, and has EC2 stop the instance at once: nobody
// can connect any more, and that it stops tells another process that it is clean.
// A spot instance, which cannot be stopped, is cleaned by the step that makes the
// image: there the image tells it.
func (s *session) cleanGuest(ctx context.Context) error {
	if s.Instance.Spot {
		return nil
	}
	if err := s.withGuest(ctx, s.clean); err != nil {
		return err
	}
	return s.beginStop(ctx)
}

// withGuest does something over a connection of its own.
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

// clean removes the traces. Without its host keys sshd takes no new connections:
// who needs m once more must do so over the same one.
func (s *session) clean(ctx context.Context, m bake.Machine) error {
	traces := s.builder.traces()
	if len(traces) == 0 {
		return nil
	}
	names := make([]string, 0, len(traces))
	for _, t := range traces {
		names = append(names, string(t))
	}
	var report bytes.Buffer
	err := m.Run(ctx, &bake.Cmd{
		Line:   cleanScript,
		Env:    map[string]string{"BAKESTONE_TRACES": strings.Join(names, " "), "BAKESTONE_KEY": keyBlob(s.Keys.ClientPublic)},
		Stdout: &report,
		Sudo:   true,
	})
	s.reportTraces(report.String())
	return err
}

// reportTraces tells what the script says that it removed: a trace and a path in
// every line.
func (s *session) reportTraces(report string) {
	removed := map[string][]string{}
	var order []string
	for line := range strings.Lines(report) {
		trace, path, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		if removed[trace] == nil {
			order = append(order, trace)
		}
		removed[trace] = append(removed[trace], path)
	}
	const mostShown = 8
	for _, trace := range order {
		paths := removed[trace]
		text, more := strings.Join(paths[:min(len(paths), mostShown)], ", "), len(paths)-mostShown
		if more > 0 {
			s.run.Say("hygiene: removed %s: %s and %d more", trace, text, more)
		} else {
			s.run.Say("hygiene: removed %s: %s", trace, text)
		}
	}
}

// cleanScript removes $BAKESTONE_TRACES and tells what it removed. It may run
// again. Logs that are not rotated stay, empty: who writes them may want them to
// exist, with their owner and mode.
const cleanScript = `set -e
removed() { printf '%s\t%s\n' "$trace" "$1"; }
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
for trace in $BAKESTONE_TRACES; do
	case $trace in
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
