package sshmachine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv/memory"
)

// BenchmarkHostile measures the peak of the memory for each kind of answer that never
// ends, with the server in the same process. docs/hostile.md has the table.
func BenchmarkHostile(b *testing.B) {
	endless := func(old string) func(*host) {
		return func(h *host) {
			h.run = func(line string) string {
				if old == "sha256sum" && strings.Contains(line, "command -v") {
					return line // the list of tools
				}
				return strings.ReplaceAll(line, old, "tr /\\\\000 x </dev/zero; "+old)
			}
		}
	}
	get := func(ctx context.Context, m *sshmachine.Machine) error {
		return m.Get(ctx, &bake.Download{Source: "/etc/passwd", Content: io.Discard})
	}
	dir := b.TempDir()
	for _, c := range []struct {
		name   string
		change func(*host)
		call   func(ctx context.Context, m *sshmachine.Machine) error
		want   string // a part of the error
	}{
		{"facts", endless("exit 42"), nil, "more than 65536 bytes"},
		{"stat", endless(`echo "file $n`), get, "more than 65536 bytes"},
		{"file", endless("head -c "), get, "more than"},
		{"digest", endless("sha256sum"), get, "more than"},
		{"transfer-script", endless("echo ready"), func(ctx context.Context, m *sshmachine.Machine) error {
			return m.Put(ctx, &bake.Upload{Dest: dir + "/put", Content: strings.NewReader(strings.Repeat("x", 300<<10))})
		}, "more than 65536 bytes"},
		{"output", nil, func(ctx context.Context, m *sshmachine.Machine) error {
			_, err := bake.Output(ctx, m, bake.Sh("yes"))
			return err
		}, "more than 1048576 bytes"},
		{"output-line", nil, func(ctx context.Context, m *sshmachine.Machine) error {
			_, err := bake.Output(ctx, m, bake.Sh("tr '\\0' x </dev/zero"))
			return err
		}, "more than 1048576 bytes"},
		{"discarded-256MiB", nil, func(ctx context.Context, m *sshmachine.Machine) error {
			return m.Run(ctx, bake.Sh("head -c 268435456 /dev/zero; exit 3"))
		}, "status 3"},
		{"stderr-256MiB", nil, func(ctx context.Context, m *sshmachine.Machine) error {
			return m.Run(ctx, bake.Sh("head -c 268435456 /dev/zero | tr '\\0' x >&2; exit 3"))
		}, "status 3"},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				h := newHost(b)
				if c.change != nil {
					c.change(h)
				}
				measure(b, c.want, func(ctx context.Context) error {
					m, err := sshmachine.Connect(ctx, h.configFor(h.listen(b)))
					if err != nil || c.call == nil {
						return err
					}
					return errors.Join(c.call(ctx, m), m.Close())
				})
			}
		})
	}
	b.Run("sftp-listing", func(b *testing.B) {
		for range b.N {
			h := newHost(b)
			h.run = withoutTar
			h.sftp = func(channel io.ReadWriteCloser) {
				_ = sftp.NewRequestServer(channel, sftp.Handlers{FileList: endlessList{}}).Serve()
			}
			measure(b, "list of files exceeds 256 MiB", func(ctx context.Context) error {
				m, err := sshmachine.Connect(ctx, h.configFor(h.listen(b)))
				if err != nil {
					return err
				}
				return errors.Join(m.Get(ctx, &bake.Download{Source: "/etc", Path: b.TempDir() + "/to"}), m.Close())
			})
		}
	})
	for name, text := range map[string]string{"version-lines": "hello\r\n", "version-line": "x", "zeros": "\x00"} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				h := newHost(b)
				cfg := h.configFor(serveText(b, strings.Repeat(text, 1000)))
				cfg.ConnectTimeout, cfg.AttemptTimeout = 2*time.Second, time.Second
				measure(b, "", func(ctx context.Context) error {
					_, err := sshmachine.Connect(ctx, cfg)
					return err
				})
			}
		})
	}
	b.Run("banner", func(b *testing.B) {
		for range b.N {
			h := newHost(b)
			h.config.BannerCallback = func(ssh.ConnMetadata) string { return strings.Repeat("x\x1b[2J", 40_000) }
			h.config.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errors.New("no") }
			cfg := h.configFor(h.listen(b))
			cfg.AuthGrace = time.Second
			measure(b, "ssh-ed25519", func(ctx context.Context) error {
				_, err := sshmachine.Connect(ctx, cfg)
				if text := fmt.Sprint(err); len(text) > 4<<10 || strings.Contains(text, "\x1b") {
					return fmt.Errorf("error of %d bytes", len(text))
				}
				return err
			})
		}
	})
}

// measure reports the peak of the memory of call, which must fail with an error that
// contains want.
func measure(b *testing.B, want string, call func(ctx context.Context) error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	var err error
	peak := memory.Peak(func() { err = call(ctx) })
	if err == nil || !strings.Contains(err.Error(), want) {
		b.Errorf("got %v, want an error with %q", err, want)
	}
	const mib = 1 << 20
	b.ReportMetric(float64(peak)/mib, "peak-MiB")
	b.Logf("%.1f MiB: %.200v", float64(peak)/mib, err)
}

// serveText sends text to every client until it hangs up.
func serveText(b *testing.B, text string) string {
	b.Helper()
	return relay(b, func(conn net.Conn) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	})
}

// endlessList lists a directory without end.
type endlessList struct{}

func (endlessList) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method != "List" {
		return infos{hostileInfo{hostileEntry{name: "x", mode: fs.ModeDir | 0o755}}}, nil
	}
	return endlessList{}, nil
}

func (endlessList) ListAt(to []fs.FileInfo, offset int64) (int, error) {
	for i := range to {
		to[i] = hostileInfo{hostileEntry{name: fmt.Sprintf("%d%s", offset+int64(i), strings.Repeat("n", 200)), mode: 0o644}}
	}
	return len(to), nil
}
