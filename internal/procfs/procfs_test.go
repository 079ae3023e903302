//go:build linux

package procfs_test

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/bakestone-go/bakestone/internal/procfs"
)

// The process executes one program after the other, so that its environment often is
// empty.
func TestEnvironmentWhileExecuting(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `exec /bin/sh -c "$1" sh "$1"`, "sh", `exec /bin/sh -c "$1" sh "$1"`)
	cmd.Env = []string{"MARK=1"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for i := range 3000 {
		if environ := procfs.Environment(cmd.Process.Pid); !bytes.Contains(environ, []byte("MARK=1\x00")) {
			t.Fatalf("Environment of call %d = %q, want MARK=1", i+1, environ)
		}
	}
}

func TestEnvironmentOfNone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sleep", "600")
	cmd.Env = []string{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if environ := procfs.Environment(pid); len(environ) > 0 {
		t.Errorf("Environment without variables = %q, want none", environ)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if environ := procfs.Environment(pid); len(environ) > 0 {
		t.Errorf("Environment of an ended process = %q, want none", environ)
	}
}

func TestStat(t *testing.T) {
	fields, err := procfs.Stat(os.Getpid())
	if err != nil || !slices.Contains([]string{"R", "S", "D"}, fields[0]) || fields[1] != strconv.Itoa(os.Getppid()) {
		t.Errorf("Stat of this process = %q, %v, want a running one whose parent is %d", fields, err, os.Getppid())
	}
	if !procfs.Alive(fields) {
		t.Errorf("Alive(%q) = false for this process", fields)
	}
	if fields, err := procfs.Stat(1 << 30); err == nil {
		t.Errorf("Stat of no process = %q, want an error", fields)
	}
}
