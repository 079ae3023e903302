package sandbox_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

// showFiles prints the modes and contents of the files that a script leaves.
const showFiles = `
find . -type f ! -name script | LC_ALL=C sort | while IFS= read -r f; do stat -c '%a %n' "$f"; cat -A "$f"; done`

// TestPatchMatchesGNU compares messages, statuses and files with those of GNU patch.
func TestPatchMatchesGNU(t *testing.T) {
	t.Parallel()
	shell := needBash(t)
	program := testenv.Need(t, "patch")
	if out, err := exec.CommandContext(t.Context(), program, "--version").Output(); err != nil || !strings.HasPrefix(string(out), "GNU patch 2.7") {
		t.Skipf("patch is %.30q, not GNU patch 2.7", out)
	}
	testenv.Need(t, "diff")
	base := boot(t, sandbox.Options{})
	for _, script := range splitScripts(t, "patch.txt") {
		script = "exec </dev/null 2>&1\n" + script + "\necho $?" + showFiles
		t.Run("", func(t *testing.T) {
			t.Parallel()
			real := realRun(t, shell, script)
			got := sandboxRun(t, base, "bash", script)
			got.out, got.err = comparable(got.out, "/work"), comparable(got.err, "/work")
			if got != real {
				t.Errorf("%s\ngot status %d, errors %q, want %d, %q, output (-want +got):\n%s", script, got.status, got.err, real.status, real.err,
					cmp.Diff(strings.Split(real.out, "\n"), strings.Split(got.out, "\n")))
			}
		})
	}
}

func TestPatch(t *testing.T) {
	t.Parallel()
	const p = `seq 9 >x; cp x y; printf -- '--- a/x\n+++ b/x\n@@ -3,3 +3,3 @@\n 3\n-4\n+four\n 5\n' >p; `
	runCases(t, []scriptCase{
		{name: "apply", script: p + "chmod 640 x; patch -p1 <p; sed -n 4p x; stat -c %a x; patch -R x p; cmp x y; ls", out: "patching file x\nfour\n640\npatching file x\np\nx\ny\n"},
		{name: "offset and fuzz", script: p + "sed -i '1i0\ns/^3/three/' x; patch -p1 <p; ls x*", out: "patching file x\nHunk #1 succeeded at 4 with fuzz 1 (offset 1 line).\nx\nx.orig\n"},
		{name: "no fuzz", script: p + "sed -i s/3/three/ x; patch -F0 -p1 --no-backup-if-mismatch <p", out: "patching file x\nHunk #1 FAILED at 3.\n1 out of 1 hunk FAILED -- saving rejects to file x.rej\n", status: 1},
		{name: "applied already", script: p + "patch -sp1 <p; patch -Np1 -r - <p", out: "patching file x\nReversed (or previously applied) patch detected!  Skipping patch.\n1 out of 1 hunk ignored\n", status: 1},
		{name: "directory and dry run", script: p + "mkdir d; mv x d; patch --dry-run -d d -p1 -i ../p; cmp d/x y && patch -p0 -b -z .bak d/x <p; ls d", out: "checking file x\npatching file d/x\nx\nx.bak\n"},
		{name: "output", script: p + "patch -o - x p; cmp x y", out: "1\n2\n3\nfour\n5\n6\n7\n8\n9\n", err: "patching file - (read from x)"},
		{name: "new and deleted files", script: `printf -- '--- /dev/null\n+++ b/n/m\n@@ -0,0 +1 @@\n+new\n' >p; patch -p1 <p; cat n/m; patch -Rp1 <p; ls`, out: "patching file n/m\nnew\npatching file n/m\np\n"},
		{name: "outside", script: `printf -- '--- /etc/motd\n+++ /etc/motd\n@@ -0,0 +1 @@\n+new\n' >p; mkdir d; patch -f -p0 -d d <p`, out: "Ignoring potentially dangerous file name /etc/motd\ncan't find file to patch at input line 3\nPerhaps you used the wrong -p or --strip option?\nThe text leading up to this was:\n--------------------------\n|--- /etc/motd\n|+++ /etc/motd\n--------------------------\nNo file to patch.  Skipping patch.\n1 out of 1 hunk ignored\n", status: 1},
		{name: "malformed", script: p + "sed s/-4/4/ p | patch x; cmp x y", out: "patching file x\n", err: "patch: **** malformed patch at line 5: 4\n"},
		{name: "context diff", script: p + `printf '*** x\n--- x\n***************\n*** 1,2 ****\n  1\n! 2\n--- 1,2 ----\n  1\n! two\n' | patch x`, err: "a context diff, which this machine does not support: make it with diff -u", status: 2},
		{name: "normal diff", script: "seq 9 >x; printf '4c4\n< 4\n---\n> four\n' | patch x", err: "a normal diff, which this machine does not support", status: 2},
		{name: "ed script", script: "seq 9 >x; printf '4c\nfour\n.\n' | patch x", err: "an ed script, which this machine does not support", status: 2},
		{name: "symbolic link", script: `printf 'diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+x\n' | patch -p1; ls`, err: "a symbolic link"},
		{name: "prerequisite", script: p + "(echo 'Prereq: 1.2'; cat p) | patch x", err: "Prereq", status: 2},
		{name: "unknown option", script: "patch --merge x p", err: "option '--merge' is not supported by this machine", status: 2},
		{name: "as user", user: "ubuntu", script: `seq 9 >/tmp/x; cd /tmp; printf -- '--- x\n+++ x\n@@ -4 +4 @@\n-4\n+four\n' >p; chmod 400 x; patch <p; stat -c '%a %U' x; cp x /var/tmp/y; cd /; patch /etc/hostname /tmp/p`, out: "File x is read-only; trying to patch anyway\npatching file x\n400 ubuntu\nFile /etc/hostname is read-only; trying to patch anyway\n", err: "patch: **** Can't create temporary file /etc/hostname.o", status: 2},
	})
}
