package provision_test

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/testenv"
	"github.com/bakestone-go/bakestone/provision"
)

//go:embed testdata/script
var scriptFS embed.FS

func TestScriptFilesOnSSHD(t *testing.T) {
	m := testenv.SSHD(t, nil).Machine(t, nil)
	modes := fstest.MapFS{
		"run.sh":     {Data: []byte(`ls -l "${0%/*}" | sed -n 's/^\(..........\).* /\1 /p'; "${0%/*}/helper"`)},
		"helper":     {Data: []byte("#!/bin/sh\necho helped"), Mode: 0o750},
		"key":        {Data: []byte("k"), Mode: 0o600},
		"d/readonly": {Data: []byte("r"), Mode: 0o444},
		"d":          {Mode: fs.ModeDir | 0o555},
		"dir.sh":     {Data: []byte("pwd; . ./lib.sh")},
		"lib.sh":     {Data: []byte("echo library")},
	}
	const install, output = "testdata/script/web/install.sh", "hello web\ncommon\npart\n"
	for name, test := range map[string]struct {
		script provision.Script
		want   string
	}{
		"listed":    {provision.Script{Path: install, Files: []string{"functions.sh", "../lib", "parts/part.sh"}}, output},
		"directory": {provision.Script{Path: install, Files: []string{".", "../lib/common.sh"}}, output},
		"parent":    {provision.Script{Path: install, Files: []string{".."}}, output},
		"embed.FS":  {provision.Script{FS: scriptFS, Path: install, Files: []string{".", "../lib"}}, output},
		"as root":   {provision.Script{FS: scriptFS, Path: install, Files: []string{".", "../lib"}, Sudo: true}, output},
		"modes": {
			provision.Script{FS: modes, Path: "run.sh", Files: []string{"helper", "key", "d"}},
			"drwxr-xr-x d\n-rwxr-x--- helper\n-rw------- key\n-rwx------ run.sh\nhelped\n",
		},
		"working directory": {provision.Script{FS: modes, Path: "dir.sh", Files: []string{"lib.sh"}, Dir: "."}, "DIR\nlibrary\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.script.Sudo && os.Getuid() != 0 {
				t.Skip("requires a login as root")
			}
			test.script.RemoteDir = t.TempDir()
			got := outputOf(t, m, test.script)
			if dir, _, _ := strings.Cut(got, "\n"); strings.HasPrefix(dir, test.script.RemoteDir) {
				got = strings.Replace(got, dir, "DIR", 1)
			}
			if got != test.want {
				t.Errorf("output = %q, want %q", got, test.want)
			}
			wantEmpty(t, test.script.RemoteDir)
		})
	}
}

// Files are removed when the script, or copying one of them, fails.
func TestScriptFilesRemoved(t *testing.T) {
	script := provision.Script{FS: scriptFS, Path: "testdata/script/web/install.sh", Files: []string{"functions.sh", "parts"}}
	for _, sudo := range []bool{false, true} {
		m := baketest.NewMachine(nil)
		m.OnScript("hello", baketest.Reply{Status: 1})
		script.Sudo = sudo
		if err := script.Provision(t.Context(), m); err == nil {
			t.Error("Provision() = nil, want the script's exit status")
		}
		owner := map[bool]string{false: "ubuntu", true: "root"}[sudo]
		var put []string
		for _, call := range m.Calls() {
			if call.Kind == baketest.PutCall {
				put = append(put, call.Path[strings.LastIndex(call.Path, "/"):])
				if call.Sudo != sudo {
					t.Errorf("Put(%s): Sudo = %v, want files of %s", call.Path, call.Sudo, owner)
				}
			}
		}
		if diff := cmp.Diff([]string{"/functions.sh", "/parts", "/install.sh"}, put); diff != "" {
			t.Error(diff)
		}
		nothingLeft(t, m)
	}
	m, full := baketest.NewMachine(nil), errors.New("disk full")
	m.FailPut("/tmp/**/parts", full)
	if err := script.Provision(t.Context(), m); !errors.Is(err, full) {
		t.Errorf("Provision() = %v, want %v", err, full)
	}
	nothingLeft(t, m)
}

func TestScriptFilesValidate(t *testing.T) {
	tree := fstest.MapFS{"a/b/run.sh": {Data: []byte("true")}, "a/lib.sh": {Data: []byte("true")}}
	with := func(files ...string) provision.Script {
		return provision.Script{FS: tree, Path: "a/b/run.sh", Files: files}
	}
	invalid(t, with("../lib.sh", ".", "../b"), nil)
	invalid(t, with("lib.sh"), []string{"Script.Files: open a/b/lib.sh: file does not exist"})
	invalid(t, with("/etc/passwd"), []string{`Script.Files: "/etc/passwd" is not a path relative to the directory of Path`})
	invalid(t, with(""), []string{`Script.Files: "" is not a path relative`})
	invalid(t, with("../../../x"), []string{`Script.Files: has more "../" than there are directories above a/b/run.sh`})
	invalid(t, provision.Script{Content: "true", Files: []string{"x"}}, []string{"Script.Files: requires Path"})
}

func TestScriptFilesAreInputs(t *testing.T) {
	sum := func(library string, files ...string) string {
		tree := fstest.MapFS{"run.sh": {Data: []byte("true")}, "lib.sh": {Data: []byte(library)}}
		in, err := bake.InputsOf(provision.Script{FS: tree, Path: "run.sh", Files: files})
		if err != nil {
			t.Fatal(err)
		}
		return in.Sum()
	}
	if sum("1", "lib.sh") == sum("2", "lib.sh") {
		t.Error("the content of Files is not an input")
	}
	if sum("1") != sum("2") {
		t.Error("a file that is not in Files is an input")
	}
}
