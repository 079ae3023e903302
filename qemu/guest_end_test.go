//go:build unix

package qemu_test

import (
	"cmp"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/qemu"
)

// TestGuestEndsInQEMU ends a guest in the middle of a command in each way that a guest can
// end. The error must tell which, with what the guest said last. The short form leaves out
// some.
func TestGuestEndsInQEMU(t *testing.T) {
	t.Parallel()
	const say = "echo 'last words of the guest' >/dev/ttyS0; "
	for name, test := range map[string]struct {
		command, want, last string
		short               bool
	}{
		"panic":              {command: "echo c >/proc/sysrq-trigger", want: "machine is ended: exit status", last: "sysrq_handle_crash", short: true},
		"panic without word": {command: "rmmod pvpanic_pci; echo c >/proc/sysrq-trigger", want: "machine is not working any more: Kernel panic - not syncing", last: "sysrq"},
		"halt":               {command: "busybox halt -f", want: "machine is not working any more: reboot: System halted", short: true},
		"power off":          {command: "busybox poweroff -f", want: "machine is powered down"},
		"reset":              {command: "echo b >/proc/sysrq-trigger", want: "the connection to it was lost: the guest has reset itself", short: true},
		"hang":               {command: "busybox ifconfig eth0 down", want: "machine is running, but the connection to it was lost"},
	} {
		if os.Getenv("BAKESTONE_LONG") == "" && !test.short {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := realBuilder(t)
			b.SSH.Configure = func(c *sshmachine.Config) { c.KeepAliveInterval, c.KeepAliveCount = 2*time.Second, 5 }
			_, err := bake.Bake(t.Context(), nil, &bake.Image{
				Name: "ending", Builder: b,
				Provisioners: []bake.Provisioner{provision.Shell(say + test.command + "; sleep 1000")},
			})
			ended, ok := errors.AsType[*qemu.MachineError](err)
			if !ok || !errors.Is(err, bake.ErrDisconnected) {
				t.Fatalf("Bake = %v, want a MachineError", err)
			}
			wantError(t, err, test.want)
			last := cmp.Or(test.last, "last words of the guest")
			if console := strings.Join(ended.Console, "\n"); !strings.Contains(console, last) {
				t.Errorf("console ends with %q, want %q", console, last)
			}
			if left := existing(t, b.Host); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}
