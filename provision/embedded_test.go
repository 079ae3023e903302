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
	"github.com/bakestone-go/bakestone/internal/memconn"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// embedded returns an SSH connection to a sandbox, a machine in memory.
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
			a, b := memconn.Pipe(memconn.Addr("client"), memconn.Addr("guest"))
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

// bakeMessages provisions m with p in a build and returns the build's messages.
func bakeMessages(t *testing.T, m bake.Machine, p bake.Provisioner) (messages []string, err error) {
	t.Helper()
	if err := bake.ValidateValue(p); err != nil {
		t.Fatal(err)
	}
	opts := &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.Message || e.Kind == bake.BuildPaused {
			messages = append(messages, e.Text)
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
		t.Fatalf("Bake() = %v, but Provision() = %v", bakeErr, err)
	}
	return messages, err
}

// provisionTwice provisions m with p twice. The first run must report the changes
// want, the second that nothing changed.
func provisionTwice(t *testing.T, m bake.Machine, p bake.Provisioner, want string) {
	t.Helper()
	for _, want := range []string{want, "unchanged"} {
		messages, err := bakeMessages(t, m, p)
		if err != nil {
			t.Fatal(err)
		}
		if want = bake.Describe(p) + ": " + want; !slices.Equal(messages, []string{want}) {
			t.Errorf("messages = %q, want %q", messages, want)
		}
	}
}

// readDisk returns the content of a file.
func readDisk(t *testing.T, h *sandbox.Host, name string) string {
	t.Helper()
	data, err := h.FS().ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

// writeFiles writes files as root.
func writeFiles(t *testing.T, h *sandbox.Host, files map[string]string) {
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

// sayText returns a provisioner that emits a message.
func sayText(text string) bake.Provisioner {
	return bake.ProvisionFunc{Do: func(ctx context.Context, _ bake.Machine) error {
		bake.RunFromContext(ctx).Say("%s", text)
		return nil
	}}
}
