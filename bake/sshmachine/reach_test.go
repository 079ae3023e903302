package sshmachine_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// sshCommand runs line with OpenSSH's client, using access.
func sshCommand(t testing.TB, access bake.SSHAccess, line string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		must(t, os.WriteFile(name, []byte(content), 0o600))
		return name
	}
	args := []string{
		"-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-p", strconv.Itoa(access.Port),
		"-o", "UserKnownHostsFile=" + file("known_hosts", access.KnownHosts), "-o", "IdentitiesOnly=" + yesNo(access.Agent == ""),
	}
	if !access.Key.IsZero() {
		args = append(args, "-i", file("key", access.Key.Reveal()))
	}
	if access.Certificate != "" {
		file("key-cert.pub", access.Certificate)
	}
	cmd := exec.CommandContext(t.Context(), testenv.Need(t, "ssh"), append(args, access.User+"@"+access.Host, line)...)
	if access.Agent != "" {
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+access.Agent)
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func TestReachSSH(t *testing.T) {
	server, bastion := testenv.SSHD(t, nil), testenv.SSHD(t, nil)
	key := func(s *testenv.Server) []sshmachine.Auth {
		return []sshmachine.Auth{sshmachine.PrivateKey(s.ClientKeyPEM, bake.Secret{})}
	}
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	must(t, err)
	t.Cleanup(func() { must(t, listener.Close()) })
	raw, err := ssh.ParseRawPrivateKey(server.ClientKeyPEM)
	must(t, err)
	dialAgent := dialAgent(t, raw)
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			if far, err := dialAgent(context.WithoutCancel(t.Context())); err == nil {
				go join(near, far)
			}
		}
	}()
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(raw, "", []byte("open sesame"))
	must(t, err)

	tests := map[string]struct {
		change func(cfg *sshmachine.Config)
		direct bool
	}{
		"a key":    {func(*sshmachine.Config) {}, true},
		"an agent": {func(c *sshmachine.Config) { c.Auth = []sshmachine.Auth{sshmachine.AgentSocket(socket)} }, true},
		"an encrypted key": {func(c *sshmachine.Config) {
			c.Auth = []sshmachine.Auth{sshmachine.PrivateKey(pem.EncodeToMemory(locked), bake.NewSecret("open sesame"))}
		}, true},
		"a dial func": {func(c *sshmachine.Config) {
			c.Addr = "not.resolvable.invalid:22"
			c.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, server.Addr)
			}
		}, false},
		"a bastion": {func(c *sshmachine.Config) {
			cfg := sshdConfig(bastion)
			c.Via = []sshmachine.Hop{{Addr: cfg.Addr, User: cfg.User, Auth: cfg.Auth, HostKey: cfg.HostKey}}
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := sshdConfig(server)
			cfg.Auth = key(server)
			test.change(cfg)
			m := connect(t, cfg)
			var relay string
			done := errors.New("done")
			err := bake.ReachSSH(t.Context(), m, func(_ context.Context, access bake.SSHAccess) error {
				relay = net.JoinHostPort(access.Host, strconv.Itoa(access.Port))
				if direct := relay == server.Addr; direct != test.direct {
					t.Errorf("access leads to %s, the server is at %s; want direct access %v", relay, server.Addr, test.direct)
				}
				for i := range 2 {
					out, err := sshCommand(t, access, fmt.Sprintf("echo run %d", i))
					if want := fmt.Sprintf("run %d", i); err != nil || out != want {
						t.Errorf("ssh printed %q, %v, want %q", out, err, want)
					}
				}
				access.KnownHosts = strings.Replace(access.KnownHosts, "AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAIA", 1)
				if out, err := sshCommand(t, access, "echo wrong"); err == nil {
					t.Errorf("ssh accepted another host key: %s", out)
				}
				return done
			})
			if !errors.Is(err, done) {
				t.Errorf("ReachSSH = %v, want the error of use", err)
			}
			if conn, err := net.Dial("tcp", relay); !test.direct && err == nil { //nolint:noctx // expected to fail
				_ = conn.Close()
				t.Error("the relay accepts connections after ReachSSH")
			}
		})
	}
}

// TestReachSSHClosesConnections leaves a connection to the relay open.
func TestReachSSHClosesConnections(t *testing.T) {
	server := testenv.SSHD(t, nil)
	cfg := sshdConfig(server)
	cfg.Auth = []sshmachine.Auth{sshmachine.PrivateKey(server.ClientKeyPEM, bake.Secret{})}
	cfg.Dial = new(net.Dialer).DialContext
	m := connect(t, cfg)
	var left net.Conn
	must(t, m.ReachSSH(t.Context(), func(ctx context.Context, access bake.SSHAccess) error {
		var err error
		left, err = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(access.Host, strconv.Itoa(access.Port)))
		if err != nil {
			return err
		}
		_, err = io.ReadFull(left, make([]byte, len("SSH-2.0-")))
		return err
	}))
	if _, err := io.Copy(io.Discard, left); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	must(t, left.Close())
}

// TestReachSSHKeyInUse hands on the key that a server without ed25519 accepts.
func TestReachSSHKeyInUse(t *testing.T) {
	h := newHost(t)
	other, err := sshmachine.NewECDSAKeyPair("")
	must(t, err)
	h.config.PublicKeyAuthAlgorithms = []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSASHA256}
	h.config.PublicKeyCallback = func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), other.Signer.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return &ssh.Permissions{}, nil
	}
	cfg := h.configFor(h.listen(t))
	cfg.Auth = nil
	for _, pair := range []*sshmachine.KeyPair{h.client, other} {
		cfg.Auth = append(cfg.Auth, sshmachine.PrivateKey([]byte(pair.Private.Reveal()), bake.Secret{}))
	}
	err = connect(t, cfg).ReachSSH(t.Context(), func(_ context.Context, access bake.SSHAccess) error {
		if access.Key.Reveal() != other.Private.Reveal() {
			t.Error("ReachSSH hands on another key than the one that logged in")
		}
		return nil
	})
	must(t, err)
}

func TestReachSSHWithSigner(t *testing.T) {
	server := testenv.SSHD(t, nil)
	use := func(context.Context, bake.SSHAccess) error { return nil }
	if err := bake.ReachSSH(t.Context(), connect(t, sshdConfig(server)), use); !errors.Is(err, bake.ErrNoSSH) {
		t.Errorf("ReachSSH = %v, want ErrNoSSH", err)
	}
}

// TestReachSSHKillsProcesses leaves a process running on the machine, which must be
// killed if the context has ended.
func TestReachSSHKillsProcesses(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("requires /proc")
	}
	for name, canceled := range map[string]bool{"canceled": true, "done": false} {
		t.Run(name, func(t *testing.T) {
			server := testenv.SSHD(t, nil)
			cfg := sshdConfig(server)
			cfg.Auth = []sshmachine.Auth{sshmachine.PrivateKey(server.ClientKeyPEM, bake.Secret{})}
			m := connect(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var pid string
			must(t, bake.ReachSSH(ctx, m, func(_ context.Context, access bake.SSHAccess) error {
				var err error
				pid, err = sshCommand(t, access, "env "+access.Mark+" /bin/sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'")
				if canceled {
					cancel()
				}
				return err
			}))
			stat, err := os.ReadFile("/proc/" + pid + "/stat")
			if running := err == nil && !strings.Contains(string(stat), ") Z "); running == canceled {
				t.Errorf("process %s is running: %v, want %v", pid, running, !canceled)
			}
		})
	}
}
