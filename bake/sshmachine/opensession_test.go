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

// TestCommandsWhileTheLinkEnds begins commands at the very moment when the
// connection is lost: each of them ends.
func TestCommandsWhileTheLinkEnds(t *testing.T) {
	pair, err := sshmachine.NewKeyPair("")
	must(t, err)
	h, err := sandbox.Boot(t.Context(), sandbox.Options{AuthorizedKeys: []string{pair.AuthorizedKey}})
	must(t, err)
	var serving sync.WaitGroup
	var mu sync.Mutex
	var ends []net.Conn
	m := connect(t, &sshmachine.Config{
		Addr: "192.0.2.1", User: "ubuntu",
		Auth:      []sshmachine.Auth{sshmachine.Signer(pair.Signer)},
		HostKey:   sshmachine.InsecureAnyHostKey(),
		KeepAlive: -1,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			a, b := net.Pipe()
			serving.Go(func() { h.ServeConn(context.WithoutCancel(ctx), b) })
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, b)
			return a, nil
		},
	})
	for i := range 150 {
		must(t, m.Run(t.Context(), bake.Sh("true")))
		var commands sync.WaitGroup
		for range 4 {
			commands.Go(func() {
				if err := m.Run(t.Context(), bake.Sh("true")); err != nil && !errors.Is(err, bake.ErrDisconnected) {
					t.Error(err)
				}
			})
		}
		mu.Lock()
		time.Sleep(time.Duration(i%20) * 20 * time.Microsecond)
		_ = ends[len(ends)-1].Close()
		mu.Unlock()
		commands.Wait()
	}
	must(t, m.Close())
	must(t, h.Close())
	serving.Wait()
}
