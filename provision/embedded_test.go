package provision_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// embedded is a machine with a shell and a disk in memory, over SSH.
func embedded(t *testing.T, o sandbox.Options) (bake.Machine, *sandbox.Host) {
	t.Helper()
	pair, err := sshmachine.NewKeyPair("")
	if err != nil {
		t.Fatal(err)
	}
	o.AuthorizedKeys = []string{pair.AuthorizedKey}
	h, err := sandbox.Boot(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	user := "ubuntu"
	if o.Login != "" {
		user = o.Login
	}
	m, err := sshmachine.Connect(t.Context(), &sshmachine.Config{
		Addr: "192.0.2.1", User: user,
		Auth:    []sshmachine.Auth{sshmachine.Signer(pair.Signer)},
		HostKey: sshmachine.InsecureAnyHostKey(),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			serving.Go(func() { h.ServeConn(ctx, b) })
			return a, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, h
}

// inABuild provisions m with p inside of a build and returns what the build
// said meanwhile.
func inABuild(t *testing.T, m bake.Machine, p bake.Provisioner) (said []string, err error) {
	t.Helper()
	if err := bake.ValidateValue(p); err != nil {
		t.Fatal(err)
	}
	opts := &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.Message {
			said = append(said, e.Text)
		}
	}}
	_, bakeErr := bake.Bake(t.Context(), opts, &bake.Image{
		Name: "test", Builder: baketest.NewBuilder(nil),
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error {
			err = p.Provision(ctx, m)
			return err
		}}},
	})
	if (bakeErr == nil) != (err == nil) {
		t.Fatalf("the build ended with %v, its provisioner with %v", bakeErr, err)
	}
	return said, err
}

// twice provisions m with p two times: at first it changes what is wanted, and
// then it says that nothing had to be.
func twice(t *testing.T, m bake.Machine, p bake.Provisioner, want string) {
	t.Helper()
	for _, want := range []string{want, "unchanged"} {
		said, err := inABuild(t, m, p)
		if err != nil {
			t.Fatal(err)
		}
		if want = bake.Describe(p) + ": " + want; !slices.Equal(said, []string{want}) {
			t.Errorf("it said %q, want %q", said, want)
		}
	}
}

// content is a file of the disk.
func content(t *testing.T, h *sandbox.Host, name string) string {
	t.Helper()
	data, err := h.FS().ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// disk writes files of root's.
func disk(t *testing.T, h *sandbox.Host, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := h.FS().MkdirAll(name[:strings.LastIndexByte(name, '/')], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := h.FS().WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// saying is a provisioner that says text.
func saying(text string) bake.Provisioner {
	return bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error {
		bake.RunFromContext(ctx).Say("%s", text)
		return nil
	}}
}
