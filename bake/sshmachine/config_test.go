package sshmachine_test

import (
	"errors"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
)

func TestConfigValidate(t *testing.T) {
	h := newHost(t)
	for field, change := range map[string]func(*sshmachine.Config){
		"Config.Addr":        func(c *sshmachine.Config) { c.Addr = "" },
		"Config.User":        func(c *sshmachine.Config) { c.User = "" },
		"Config.Auth":        func(c *sshmachine.Config) { c.Auth = nil },
		"Config.HostKey":     func(c *sshmachine.Config) { c.HostKey = nil },
		"Config.Via[0].Addr": func(c *sshmachine.Config) { c.Via = []sshmachine.Hop{{}} },
		"Config.Proxy.Addr":  func(c *sshmachine.Config) { c.Proxy = &sshmachine.Proxy{} },
	} {
		cfg := h.configFor("192.0.2.1")
		must(t, cfg.Validate())
		change(cfg)
		_, err := sshmachine.Connect(t.Context(), cfg)
		var invalid *bake.FieldError
		if !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("Connect = %v, want a FieldError for %s", err, field)
		}
	}
	for name, auth := range map[string]sshmachine.Auth{
		"key":         sshmachine.PrivateKey([]byte("not a key"), bake.Secret{}),
		"signer":      sshmachine.Signer(nil),
		"certificate": sshmachine.Certificate([]byte(h.client.AuthorizedKey), []byte(h.client.Private.Reveal()), bake.Secret{}),
		"password":    sshmachine.Password(bake.Secret{}),
		"agent":       sshmachine.Agent(nil),
		"interactive": sshmachine.KeyboardInteractive(nil),
	} {
		cfg := h.configFor("192.0.2.1")
		cfg.Auth = []sshmachine.Auth{auth}
		if cfg.Validate() == nil {
			t.Errorf("%s: Validate = nil, want an error", name)
		}
	}
	for name, policy := range map[string]sshmachine.HostKeyPolicy{
		"fixed": sshmachine.FixedHostKey(), "nil key": sshmachine.FixedHostKey(nil), "authority": sshmachine.HostCA(),
		"func": sshmachine.HostKeyFunc(nil), "known hosts": sshmachine.KnownHosts("/does/not/exist"),
	} {
		cfg := h.configFor("192.0.2.1")
		cfg.HostKey = policy
		if cfg.Validate() == nil {
			t.Errorf("%s: Validate = nil, want an error", name)
		}
	}
}
