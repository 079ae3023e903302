package sshmachine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

func TestClose(t *testing.T) {
	h := newHost(t)
	m := connect(t, h.configFor(h.listen(t)))
	done := make(chan error, 1)
	go func() { done <- m.Run(t.Context(), bake.Sh("exec sleep 1000")) }()
	must(t, m.Run(t.Context(), bake.Sh("true")))
	must(t, m.Close())
	must(t, m.Close())
	if err := <-done; err == nil {
		t.Error("Run = nil after Close, want an error")
	}
	if err := m.Run(t.Context(), bake.Sh("true")); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Run after Close = %v, want an error containing \"closed\"", err)
	}
}

func TestReconnect(t *testing.T) {
	server := testenv.SSHD(t, nil)
	m := connect(t, sshdConfig(server))
	up := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- m.Run(t.Context(), &bake.Cmd{Line: "echo; sleep 1000", Stdout: writerFunc(func(p []byte) (int, error) { close(up); return len(p), nil })})
	}()
	<-up
	server.Drop()
	if err := <-done; !errors.Is(err, bake.ErrDisconnected) {
		t.Errorf("Run = %v, want ErrDisconnected", err)
	}
	must(t, m.Run(t.Context(), bake.Sh("true")))

	server.Stop()
	go func() { done <- m.Run(t.Context(), bake.Sh("true")) }()
	server.Start(t)
	if err := <-done; err != nil {
		t.Errorf("Run after a restart of the server = %v, want nil", err)
	}

	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Run(ctx, bake.Sh("true")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v, want DeadlineExceeded", err)
	}
}
