package sshmachine_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// TestRunDuringDisconnect starts commands while the connection is being lost, and
// checks that each call returns.
func TestRunDuringDisconnect(t *testing.T) {
	var mu sync.Mutex
	var last net.Conn
	m := sandboxMachineWith(t, sandbox.Options{}, func(cfg *sshmachine.Config) {
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			mu.Lock()
			defer mu.Unlock()
			last = conn
			return conn, err
		}
	})
	for i := range 150 {
		must(t, m.Run(t.Context(), bake.Sh("true")))
		var commands sync.WaitGroup
		for range 4 {
			commands.Go(func() {
				if err := m.Run(t.Context(), bake.Sh("true")); err != nil && !errors.Is(err, bake.ErrDisconnected) {
					t.Errorf("Run = %v, want nil or ErrDisconnected", err)
				}
			})
		}
		mu.Lock()
		time.Sleep(time.Duration(i%20) * 20 * time.Microsecond) // vary the moment
		_ = last.Close()
		mu.Unlock()
		commands.Wait()
	}
}
