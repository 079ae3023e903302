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
		t.Error("a command under way ended well")
	}
	if err := m.Run(t.Context(), bake.Sh("true")); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

func TestReconnect(t *testing.T) {
	server := testenv.SSHD(t, nil)
	m := connect(t, configOf(server))
	up := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- m.Run(t.Context(), &bake.Cmd{Line: "echo; sleep 1000", Stdout: writerFunc(func(p []byte) (int, error) { close(up); return len(p), nil })})
	}()
	<-up
	server.Drop()
	if err := <-done; !errors.Is(err, bake.ErrDisconnected) {
		t.Errorf("%v, want ErrDisconnected", err)
	}
	must(t, m.Run(t.Context(), bake.Sh("true")))

	server.Stop()
	go func() { done <- m.Run(t.Context(), bake.Sh("true")) }()
	server.Start(t)
	if err := <-done; err != nil {
		t.Errorf("after a while: %v", err)
	}

	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.Run(ctx, bake.Sh("true")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
}
