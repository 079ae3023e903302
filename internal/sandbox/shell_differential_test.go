package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// splitScripts returns the scripts of a file in testdata, which a line of "===="
// separates.
func splitScripts(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n====\n")
}

// TestMatchesRealShells compares the standard output and the status of scripts
// with those of the shells on this computer.
func TestMatchesRealShells(t *testing.T) {
	t.Parallel()
	for file, least := range map[string]int{"bash": 225, "bash_more": 75, "bash_provision": 100, "dash": 75} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			name, _, _ := strings.Cut(file, "_")
			shell := testenv.Need(t, name)
			if name == "bash" {
				shell = needBash(t)
			}
			scripts := splitScripts(t, file+".txt")
			if len(scripts) < least {
				t.Errorf("%d scripts, want at least %d", len(scripts), least)
			}
			base := boot(t, sandbox.Options{})
			for _, script := range scripts {
				t.Run("", func(t *testing.T) {
					t.Parallel()
					needPrograms(t, script)
					real := realRun(t, shell, script)
					got := sandboxRun(t, base, name, script)
					if out := comparable(got.out, "/work"); out != real.out || got.status != real.status {
						t.Errorf("%s\ngot status %d, output\n%serrors\n%swant status %d, output\n%s", script, got.status, out, got.err, real.status, real.out)
					}
				})
			}
		})
	}
}

// TestMessagesMatchBash compares the standard error as well: traces of set -x, syntax
// errors, and the messages of builtins and of commands.
func TestMessagesMatchBash(t *testing.T) {
	t.Parallel()
	shell := needBash(t)
	base := boot(t, sandbox.Options{})
	for _, script := range append(splitScripts(t, "bash_messages.txt"), splitScripts(t, "bash_commands.txt")...) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			needPrograms(t, script)
			real := realRun(t, shell, script)
			got := sandboxRun(t, base, "bash", script)
			if out, errs := comparable(got.out, "/work"), comparable(got.err, "/work"); out != real.out || errs != real.err || got.status != real.status {
				t.Errorf("%s\ngot status %d, output\n%serrors\n%swant status %d, output\n%serrors\n%s", script, got.status, out, errs, real.status, real.out, real.err)
			}
		})
	}
}

// needBash returns the bash of this computer if it is not older than that of the
// machines.
func needBash(t *testing.T) string {
	t.Helper()
	shell := testenv.Need(t, "bash")
	if out, err := exec.CommandContext(t.Context(), shell, "-c", "echo ${BASH_VERSION%.*}").Output(); err != nil || strings.TrimSpace(string(out)) < "5.2" {
		t.Skipf("bash is version %q, older than the 5.2 that the machine has", out)
	}
	return shell
}

// needPrograms skips a script with a program that not every computer has.
func needPrograms(t *testing.T, script string) {
	t.Helper()
	for _, word := range regexp.MustCompile(`[a-z0-9]+`).FindAllString(script, -1) {
		switch word {
		case "bzip2", "column", "curl", "file", "hexdump", "jq", "unzip", "xxd", "zip":
			testenv.Need(t, word)
		case "hd":
			testenv.Need(t, "hexdump")
		}
	}
}

// sandboxRun runs a script on a machine with a copy of the disk of base.
func sandboxRun(t *testing.T, base *sandbox.Host, shell, script string) result {
	t.Helper()
	h := boot(t, sandbox.Options{FS: base.FS().Clone()})
	if err := h.FS().MkdirAll("/work", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.FS().WriteFile("/work/script", []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return run(t, h, sandbox.Exec{Line: "umask 022; cd /work && unset PWD OLDPWD && export LC_ALL=C.UTF-8 && exec " + shell + " ./script one 'two words'"})
}

// realRun runs a script in a shell of this computer.
func realRun(t *testing.T, shell, script string) result {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte(script+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, "./script", "one", "two words")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "USER=root", "LC_ALL=C.UTF-8", "TZ=UTC"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return result{comparable(out.String(), dir), comparable(errs.String(), dir), cmd.ProcessState.ExitCode()}
}

var processIDs = regexp.MustCompile(`\bpid [0-9]+`)

// comparable replaces what differs from run to run.
func comparable(out, dir string) string {
	return processIDs.ReplaceAllString(strings.ReplaceAll(out, dir, "DIR"), "pid N")
}
