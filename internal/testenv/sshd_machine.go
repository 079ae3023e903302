package testenv

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

// Machine connects to the server as its login until t ends. If change is not
// nil, it can modify the configuration first.
func (s *Server) Machine(t testing.TB, change func(*sshmachine.Config)) *sshmachine.Machine {
	t.Helper()
	cfg := &sshmachine.Config{
		Addr: s.Addr, User: s.User,
		Auth:    []sshmachine.Auth{sshmachine.PrivateKey(s.ClientKeyPEM, bake.Secret{})},
		HostKey: sshmachine.FixedHostKey(s.HostKey),
	}
	if change != nil {
		change(cfg)
	}
	m, err := sshmachine.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("testenv: %v", err)
		}
	})
	return m
}
