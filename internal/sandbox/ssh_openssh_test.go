package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// listen serves h on a loopback port and returns it.
func listen(t *testing.T, h *sandbox.Host) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { h.ServeConn(ctx, c) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestOpenSSH connects with the OpenSSH clients.
func TestOpenSSH(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"ssh", "scp", "sftp"} {
		testenv.Need(t, tool)
	}
	signer, private := privateKey(t)
	dir := t.TempDir()
	for name, data := range map[string][]byte{"key": private, "tree/f": []byte("content\n"), "tree/d/g": []byte("deep\n")} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := boot(t, sandbox.Options{Hostname: "guest", AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}})
	port, tree, back := listen(t, h), filepath.Join(dir, "tree"), filepath.Join(dir, "back")
	common := []string{
		"-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + os.DevNull, "-o", "LogLevel=ERROR",
		"-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-i", filepath.Join(dir, "key"), "-o", "Port=" + port,
	}
	const guest = "ubuntu@127.0.0.1"
	for _, c := range []struct {
		tool   string
		args   []string
		stdin  string
		out    string
		status int
	}{
		{"ssh", []string{guest, "hostname; cat; exit 3"}, "input\n", "guest\ninput\n", 3},
		{"ssh", []string{"-T", guest}, "x=1\necho $x\n", "1\n", 0},
		{"ssh", []string{"-tt", guest, "tty; exit 4"}, "", "/dev/pts/0\r\n", 4},
		{"scp", []string{"-r", tree, guest + ":by-sftp"}, "", "", 0},
		{"scp", []string{"-O", "-p", "-r", tree, guest + ":by-scp"}, "", "", 0},
		{"ssh", []string{guest, "cat by-scp/d/g by-sftp/f; stat -c %a by-scp/f"}, "", "deep\ncontent\n600\n", 0},
		{"scp", []string{"-O", "-r", guest + ":by-scp", back}, "", "", 0},
		{"scp", []string{"-O", guest + ":nope", back}, "", "", 1},
		{"sftp", []string{"-q", "-b", "-", guest}, "@rename by-sftp/f by-sftp/h\n@chmod 640 by-sftp/h\n@symlink h by-sftp/l\n@ls -1 by-sftp\n", "by-sftp/d  \nby-sftp/h  \nby-sftp/l  \n", 0},
	} {
		cmd := exec.CommandContext(t.Context(), testenv.Need(t, c.tool), append(common, c.args...)...)
		var errs bytes.Buffer
		cmd.Stdin, cmd.Stderr = strings.NewReader(c.stdin), &errs
		out, err := cmd.Output()
		status := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(string(out), "  \n", "\n") != strings.ReplaceAll(c.out, "  \n", "\n") || status != c.status {
			t.Errorf("%s %v: got status %d, output %q, errors %q, want status %d, output %q", c.tool, c.args, status, out, &errs, c.status, c.out)
		}
	}
	if data, err := os.ReadFile(filepath.Join(back, "d", "g")); err != nil || string(data) != "deep\n" {
		t.Errorf("content of file copied back = %q, %v, want %q", data, err, "deep\n")
	}
}
