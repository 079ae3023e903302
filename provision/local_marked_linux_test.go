//go:build linux

package provision

import (
	"bytes"
	"os/exec"
	"testing"
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
		if environ := environment(cmd.Process.Pid); !bytes.Contains(environ, []byte("MARK=1\x00")) {
			t.Fatalf("environment of call %d = %q, want MARK=1", i+1, environ)
		}
	}
}
