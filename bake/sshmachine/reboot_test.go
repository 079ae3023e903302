package sshmachine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

func TestReboot(t *testing.T) {
	h := newHost(t)
	id := t.TempDir() + "/boot_id"
	boot := func(n int) { must(t, os.WriteFile(id, fmt.Appendln(nil, "boot", n), 0o600)) }
	boot(1)
	h.run = func(line string) string {
		if strings.Contains(line, "false alarm") {
			go h.drop()
		}
		return strings.ReplaceAll(line, "/proc/sys/kernel/random/boot_id", id)
	}
	cfg := h.configFor(h.listen(t))
	cfg.RetryInterval = 10 * time.Millisecond
	m := connect(t, cfg)
	before, err := m.Facts(t.Context())
	must(t, err)
	for n, line := range []string{"exec sleep 1000", "true", "kill -TERM $$", "exec sleep 1000; # false alarm"} {
		down := time.AfterFunc(100*time.Millisecond, func() {
			boot(n + 2)
			h.drop()
		})
		must(t, m.Reboot(t.Context(), bake.Sh(line)))
		down.Stop()
		after, err := m.Facts(t.Context())
		must(t, err)
		if after.BootID == before.BootID || after.BootID != fmt.Sprint("boot ", n+2) {
			t.Errorf("boot id after Reboot(%s) = %q, want %q", line, after.BootID, fmt.Sprint("boot ", n+2))
		}
		before = after
	}
	var failed *bake.ExitError
	if err := m.Reboot(t.Context(), bake.Sh("exit 5")); !errors.As(err, &failed) {
		t.Errorf("Reboot = %v, want an ExitError", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Reboot(ctx, bake.Sh("true")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Reboot = %v, want DeadlineExceeded", err)
	}
}
