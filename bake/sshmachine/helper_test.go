package sshmachine_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// sshdConfig returns a Config for a real sshd.
func sshdConfig(server *testenv.Server) *sshmachine.Config {
	return &sshmachine.Config{
		Addr:          server.Addr,
		User:          server.User,
		Auth:          []sshmachine.Auth{sshmachine.Signer(server.Signer)},
		HostKey:       sshmachine.FixedHostKey(server.HostKey),
		RetryInterval: 20 * time.Millisecond,
	}
}

// connect connects for the duration of a test, and prints the machine's log if the
// test fails.
func connect(t testing.TB, cfg *sshmachine.Config) *sshmachine.Machine {
	t.Helper()
	var log bytes.Buffer
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := sshmachine.Connect(ctx, cfg)
	if err != nil {
		t.Fatalf("Connect: %v", err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if t.Failed() {
			t.Logf("the machine's log:\n%s", log.String())
		}
	})
	return m
}

// sshdMachine returns a machine served by a real sshd.
func sshdMachine(t testing.TB) *sshmachine.Machine {
	t.Helper()
	return connect(t, sshdConfig(testenv.SSHD(t, nil)))
}

// runOutput runs a command and returns its standard output.
func runOutput(t testing.TB, m bake.Machine, cmd *bake.Cmd) string {
	t.Helper()
	out, err := bake.Output(t.Context(), m, cmd)
	if err != nil {
		t.Fatalf("Run(%s): %v", cmd, err)
	}
	return out
}

// listing returns a line for each entry of a tree.
func listing(t testing.TB, root string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		line := rel + " " + info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			line += " -> " + target
		case info.Mode().IsRegular():
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			line += " " + info.ModTime().UTC().Format(time.DateTime) + " " + string(content[:min(len(content), 40)])
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// writeFiles creates files below dir. A name ending in a slash is a directory.
func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(full, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
