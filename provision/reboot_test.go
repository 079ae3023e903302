package provision_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

func TestReboot(t *testing.T) {
	tests := map[string]struct {
		reboot provision.Reboot
		want   string
	}{
		"default": {provision.Reboot{}, "reboot reboot"},
		"command": {provision.Reboot{Command: "shutdown -r now", Sudo: true}, "sudo reboot shutdown -r now"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := baketest.NewMachine(nil)
			run(t, m, test.reboot)
			if got := m.Calls()[0].String(); got != test.want {
				t.Errorf("call = %q, want %q", got, test.want)
			}
			if facts, err := m.Facts(t.Context()); err != nil || facts.BootID != "boot-2" {
				t.Errorf("boot ID = %s (error %v), want boot-2", facts.BootID, err)
			}
		})
	}
}

func TestRebootTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := baketest.NewMachine(nil)
		m.On("reboot", baketest.Reply{Do: func(ctx context.Context, _ *bake.Cmd) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}})
		start := time.Now()
		err := provision.Timeout{Provisioner: provision.Reboot{}, After: time.Minute}.Provision(t.Context(), m)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "timed out after 1m0s") {
			t.Errorf("Provision() = %v, want one about a minute", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("Provision() took %v, want a minute", took)
		}
	})
}

func TestRebootFails(t *testing.T) {
	m := baketest.NewMachine(nil)
	m.On("reboot", baketest.Reply{Status: 1})
	var exit *bake.ExitError
	if err := (provision.Reboot{}).Provision(t.Context(), m); !errors.As(err, &exit) {
		t.Errorf("Provision() = %v, want the command's", err)
	}
	invalid(t, provision.Reboot{Sudo: true}, []string{"Reboot.Sudo: requires Command"})
}
