package sshmachine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/memconn"
	"github.com/bakestone-go/bakestone/internal/sandbox"
)

// sandboxMachine returns a machine in a sandbox as used by the embedded EC2, with a
// shell and a file system in memory. It works on all systems.
func sandboxMachine(t *testing.T, o sandbox.Options) *sshmachine.Machine {
	t.Helper()
	return sandboxMachineWith(t, o, func(*sshmachine.Config) {})
}

// sandboxMachineWith returns a sandboxMachine whose Config was modified by change.
func sandboxMachineWith(t *testing.T, o sandbox.Options, change func(*sshmachine.Config)) *sshmachine.Machine {
	t.Helper()
	pair, err := sshmachine.NewKeyPair("")
	must(t, err)
	o.AuthorizedKeys = []string{pair.AuthorizedKey}
	h, err := sandbox.Boot(t.Context(), o)
	must(t, err)
	var wg sync.WaitGroup
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		must(t, h.Close())
		wg.Wait()
	})
	cfg := &sshmachine.Config{
		Addr: "192.0.2.1", User: "ubuntu",
		Auth:         []sshmachine.Auth{sshmachine.Signer(pair.Signer)},
		HostKey:      sshmachine.InsecureAnyHostKey(),
		SudoPassword: bake.NewSecret(o.SudoPassword),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			a, b := memconn.Pipe(memconn.Addr("client"), memconn.Addr("guest"))
			wg.Go(func() { h.ServeConn(ctx, b) })
			return a, nil
		},
	}
	change(cfg)
	return connect(t, cfg)
}

// TestSandbox runs commands, transfers and a reboot on machines with different
// tools.
func TestSandbox(t *testing.T) {
	for name, o := range map[string]sandbox.Options{
		"default": {}, "sudo password": {SudoPassword: "hush it's"}, "no tar": {Missing: []string{"tar"}},
		"few tools": {Missing: []string{"tar", "sha256sum", "openssl", "xargs", "gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := sandboxMachine(t, o)
			testSandboxCommands(t, m)
			testSandboxFiles(t, m)
			before, err := m.Facts(t.Context())
			must(t, err)
			must(t, m.Reboot(t.Context(), nil))
			if after, err := m.Facts(t.Context()); err != nil || after.BootID == before.BootID {
				t.Errorf("boot id after Reboot = %q, %v, want one other than %q", after.BootID, err, before.BootID)
			}
		})
	}
}

func testSandboxCommands(t *testing.T, m *sshmachine.Machine) {
	t.Helper()
	const odd = "it's \"odd\"\n$HOME `x` \\ ☃\t"
	for _, sudo := range []bool{false, true} {
		for _, cmd := range []bake.Cmd{
			{Line: `printf %s "$A"; cat`, Env: map[string]string{"A": odd}, Stdin: strings.NewReader("rest")},
			{Line: `printf %s "$A"; cat`, Secrets: bake.Secrets(map[string]string{"A": odd}), Stdin: strings.NewReader("rest"), Dir: "/tmp"},
			{Args: []string{"sh", "-c", `printf %s "$0"; cat`, odd}, Stdin: strings.NewReader("rest")},
		} {
			cmd.Sudo = sudo
			if got := runOutput(t, m, &cmd); got != odd+"rest" {
				t.Errorf("sudo %v: Run(%s) printed %q, want %q", sudo, &cmd, got, odd+"rest")
			}
		}
		want := "ubuntu"
		if sudo {
			want = "root"
		}
		if got := runOutput(t, m, &bake.Cmd{Line: "id -un", Sudo: sudo}); got != want {
			t.Errorf("sudo %v: id printed %q, want %q", sudo, got, want)
		}
	}
	var failed *bake.ExitError
	if err := m.Run(t.Context(), bake.Sh("echo why >&2; exit 7")); !errors.As(err, &failed) || failed.Status != 7 || len(failed.Output) != 1 {
		t.Errorf("Run = %v, want an ExitError with status 7 and one line", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	up := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if err := m.Run(ctx, &bake.Cmd{Line: "echo; sleep 1000", Stdout: up}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want Canceled", err)
	}
	before, err := m.Facts(t.Context())
	must(t, err)
	if before.User != "ubuntu" || before.UID == 0 || before.BootID == "" || before.Distro != "ubuntu" {
		t.Errorf("Facts = %+v, want those of ubuntu", before)
	}
}

func testSandboxFiles(t *testing.T, m *sshmachine.Machine) {
	t.Helper()
	big := bytes.Repeat([]byte("0123456789"), 500_000) // openssl computes its digest
	fsys := fstest.MapFS{
		"a/b/c": {Data: []byte("deep"), Mode: 0o640}, "it's": {Data: []byte("odd"), Mode: 0o755},
		"link": {Data: []byte("a/b/c"), Mode: fs.ModeSymlink}, "skip.tmp": {Data: []byte("no"), Mode: 0o644},
	}
	for _, sudo := range []bool{false, true} {
		root := "/home/ubuntu/put"
		if sudo {
			root = "/opt/put"
		}
		for name, content := range map[string][]byte{"small": []byte("small"), "big": big} {
			dest := root + "/" + name
			must(t, m.Put(t.Context(), &bake.Upload{Dest: dest, Content: bytes.NewReader(content), Mode: 0o600, Sudo: sudo}))
			var got bytes.Buffer
			must(t, m.Get(t.Context(), &bake.Download{Source: dest, Content: &got, Sudo: sudo}))
			if !bytes.Equal(got.Bytes(), content) {
				t.Errorf("Get(%s) = %d bytes, want the %d of Put", dest, got.Len(), len(content))
			}
		}
		for range 2 {
			must(t, m.Put(t.Context(), &bake.Upload{Dest: root + "/tree", FS: fsys, Exclude: []string{"*.tmp"}, Sudo: sudo}))
		}
		must(t, m.Put(t.Context(), &bake.Upload{Dest: root + "/big tree", FS: fstest.MapFS{"big": {Data: big, Mode: 0o644}}, Sudo: sudo}))
		if got := runOutput(t, m, &bake.Cmd{Line: "cd " + root + "/tree && cat link && stat -c '%a %U' a/b/c . && ls -A", Sudo: sudo}); got != map[bool]string{
			false: "deep640 ubuntu\n755 ubuntu\na\nit's\nlink", true: "deep640 root\n755 root\na\nit's\nlink",
		}[sudo] {
			t.Errorf("sudo %v: the tree is %q", sudo, got)
		}
		to := t.TempDir()
		err := m.Get(t.Context(), &bake.Download{Source: root + "/tree", Path: to, Sudo: sudo})
		if err != nil {
			t.Logf("sudo %v: Get = %v", sudo, err)
			continue
		}
		var names []string
		must(t, filepath.WalkDir(to, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, d.Name())
			}
			return err
		}))
		if diff := cmp.Diff([]string{"c", "it's", "link"}, names); diff != "" {
			t.Errorf("sudo %v: names of Get (-want +got):\n%s", sudo, diff)
		}
	}
	broken := errors.New("broken")
	up := &bake.Upload{Dest: "/home/ubuntu/put/small", Content: io.MultiReader(bytes.NewReader(big), readerFunc(func([]byte) (int, error) { return 0, broken }))}
	if err := m.Put(t.Context(), up); !errors.Is(err, broken) {
		t.Errorf("Put = %v, want the reader's error", err)
	}
	if got := runOutput(t, m, bake.Sh("cat /home/ubuntu/put/small; find / -name '.bakestone*' 2>/dev/null || true")); got != "small" {
		t.Errorf("after a failed Put: %q, want only the old file", got)
	}
}

// An exampleServer is a sandbox that the examples log in to as ubuntu.
type exampleServer struct {
	Addr    string
	HostKey ssh.PublicKey

	host     *sandbox.Host
	listener net.Listener
	conns    sync.WaitGroup
}

// startServer starts a server on loopback that accepts the given client key.
func startServer(client *sshmachine.KeyPair) (*exampleServer, error) {
	hostKey, err := sshmachine.NewKeyPair("")
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	host, err := sandbox.Boot(ctx, sandbox.Options{
		Hostname:       "web-1",
		AuthorizedKeys: []string{client.AuthorizedKey},
		UserData: fmt.Appendf(nil, "#cloud-config\nssh_keys: {ed25519_private: %q, ed25519_public: %q}\n",
			hostKey.Private.Reveal(), hostKey.AuthorizedKey),
	})
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	s := &exampleServer{Addr: listener.Addr().String(), HostKey: hostKey.Signer.PublicKey(), host: host, listener: listener}
	s.conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.conns.Go(func() { host.ServeConn(ctx, conn) })
		}
	})
	return s, nil
}

func (s *exampleServer) Close() error {
	err := errors.Join(s.listener.Close(), s.host.Close())
	s.conns.Wait()
	return err
}

// exampleMachine connects to a new exampleServer.
func exampleMachine() (m *sshmachine.Machine, stop func(), err error) {
	pair, err := sshmachine.NewKeyPair("example")
	if err != nil {
		return nil, nil, err
	}
	server, err := startServer(pair)
	if err != nil {
		return nil, nil, err
	}
	m, err = sshmachine.Connect(context.Background(), &sshmachine.Config{
		Addr: server.Addr, User: "ubuntu",
		Auth:    []sshmachine.Auth{sshmachine.Signer(pair.Signer)},
		HostKey: sshmachine.FixedHostKey(server.HostKey),
	})
	if err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	return m, func() {
		_ = m.Close()
		_ = server.Close()
	}, nil
}
