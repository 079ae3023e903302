package testenv

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// Postgres starts a server of PostgreSQL with a new cluster, and returns the URL of its
// database. The server listens on a Unix socket only, which belongs to the test. Without
// PostgreSQL, t is skipped, as by Need. The server refuses to run as root: then it runs as
// the user nobody. It is stopped when t ends.
func Postgres(t testing.TB) (database string) {
	t.Helper()
	server := Need(t, "postgres")
	fail := func(what string, err error) {
		if err != nil {
			t.Fatalf("testenv: %s: %v", what, err)
		}
	}
	// No TempDir: the other user must be able to enter it, and socket paths must be short.
	dir, err := os.MkdirTemp("", "postgres") //nolint:usetesting // see above
	fail("make a directory", err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	fail("give the directory away", giveAway(dir))
	data := filepath.Join(dir, "data")
	run := func(path string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
		cmd.Dir, cmd.Env = dir, append(environ(), "LC_ALL=C", "TZ=UTC")
		setUnprivileged(cmd)
		return cmd
	}
	out, err := run(filepath.Join(filepath.Dir(server), "initdb"), "-D", data, "-U", "bakery", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput()
	if err != nil {
		t.Fatalf("testenv: initdb: %v\n%s", err, out)
	}
	log := filepath.Join(dir, "log")
	file, err := os.Create(log) //nolint:gosec // in the test's directory
	fail("make a log", err)
	defer file.Close()
	cmd := run(server, "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	cmd.Stdout, cmd.Stderr = file, file
	setParentDeathSignal(cmd)
	fail("start PostgreSQL", cmd.Start())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // a fast shutdown, also of its children
		<-done
	})
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	ready := run(filepath.Join(filepath.Dir(server), "pg_isready"), "-h", dir, "-q").Args
	for run(ready[0], ready[1:]...).Run() != nil {
		select {
		case <-done:
			text, _ := os.ReadFile(log) //nolint:gosec // in the test's directory
			t.Fatalf("testenv: PostgreSQL did not start:\n%s", text)
		default:
		}
		if !pause(ctx) {
			t.Fatal("testenv: PostgreSQL is not ready")
		}
	}
	return fmt.Sprintf("postgres://bakery@/postgres?host=%s", url.QueryEscape(dir))
}

// findPostgres returns the newest server, which Debian keeps out of PATH.
func findPostgres() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		path, err := lookPath("postgres")
		if err != nil {
			return "", err
		}
		return filepath.EvalSymlinks(path)
	}
	slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) })
	return found[len(found)-1], nil
}
