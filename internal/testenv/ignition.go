package testenv

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// ignitionVersion is that of ignition-validate in continuous integration.
const ignitionVersion = "v2.24.0"

// Ignition builds Ignition, the program that configures machines at their first boot, for this
// system, without support for SELinux. It returns its path. The first build takes minutes.
func Ignition(t testing.TB) string {
	t.Helper()
	Need(t, "ignition")
	run := func(dir string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("testenv: go %q: %v\n%s%s", args, err, out, exit.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const module = "github.com/coreos/ignition/v2"
	dir := t.TempDir()
	var source struct{ Dir string }
	if err := json.Unmarshal(run(dir, "mod", "download", "-json", module+"@"+ignitionVersion), &source); err != nil {
		t.Fatal(err)
	}
	// Its main program is an internal package, which can be built as part of its own module only.
	copied := filepath.Join(dir, "ignition")
	if err := os.CopyFS(copied, os.DirFS(source.Dir)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	run(copied, "build", "-trimpath", "-ldflags=-s -w -X "+module+"/internal/distro.selinuxRelabel=false -X "+module+"/internal/version.Raw="+ignitionVersion, "-o", program, "./internal")
	return program
}

// findIgnition returns what Ignition is built with: the headers of libblkid.
func findIgnition() (string, error) {
	const header = "/usr/include/blkid/blkid.h"
	for _, program := range []string{"go", "gcc"} {
		if _, err := lookPath(program); err != nil {
			return "", err
		}
	}
	_, err := os.Stat(header)
	return header, err
}
