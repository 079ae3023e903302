package provision_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision"
)

// "~" is the login's home in every path on the machine, also for root.
func TestHome(t *testing.T) {
	tree := fstest.MapFS{"a": {Data: []byte("1")}}
	for _, sudo := range []bool{false, true} {
		m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
		to := t.TempDir()
		run(t, m, provision.Sequence{
			provision.File{Content: "f", Dest: "~/conf/f", Sudo: sudo},
			provision.Dir{FS: tree, Dest: "~/app", Sudo: sudo},
			provision.Dir{FS: tree, Dest: "~", Sudo: sudo},
			provision.Dir{FS: tree, Dest: "~/", Sudo: sudo},
			provision.Template{Content: "t", Dest: "~/it's", Sudo: sudo},
			provision.Download{Source: "~/conf/f", Dest: filepath.Join(to, "f"), Sudo: sudo},
			provision.Script{Content: "true", Dir: "~/app", RemoteDir: "~", Sudo: sudo},
			provision.Script{Content: "true", Dir: "~", RemoteDir: "~/app", Sudo: sudo},
		})
		var got []string
		for _, call := range m.Calls() {
			path, _, staged := strings.Cut(call.Path, "/bakestone-")
			switch {
			case call.Kind == baketest.RunCall && call.Script != "":
				got = append(got, "run in "+call.Dir+" from "+path)
			case call.Kind == baketest.RunCall && strings.HasPrefix(call.Command, "stat"):
				got = append(got, call.Command[strings.Index(call.Command, " '/"):strings.Index(call.Command, " 2>")])
			case call.Kind != baketest.RunCall && !staged:
				got = append(got, string(call.Kind)+" "+path)
			}
			if strings.Contains(call.Command+call.Path, "~") {
				t.Errorf("Sudo %v: call %+v contains ~", sudo, call)
			}
		}
		want := []string{
			"put /home/ubuntu/conf/f", "put /home/ubuntu/app", "put /home/ubuntu", "put /home/ubuntu/",
			` '/home/ubuntu/it'"'"'s'`, "put /home/ubuntu/it's", "get /home/ubuntu/conf/f",
			"run in /home/ubuntu/app from /home/ubuntu", "run in /home/ubuntu from /home/ubuntu/app",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Sudo %v: calls (-want +got):\n%s", sudo, diff)
		}
		nothingLeft(t, m)
	}
}

// The login's home is read from the machine.
func TestHomeOnMachine(t *testing.T) {
	m, h := embedded(t, sandbox.Options{Login: "admin"})
	for _, sudo := range []bool{false, true} {
		name := map[bool]string{false: "login", true: "root"}[sudo]
		run(t, m, provision.File{Content: "text", Dest: "~/app/" + name, Sudo: sudo})
		if text, err := h.FS().ReadFile("/home/admin/app/" + name); err != nil || string(text) != "text" {
			t.Errorf("Sudo %v: file in the login's home = %q, %v", sudo, text, err)
		}
		if got := outputOf(t, m, provision.Script{Content: "pwd; ls", Dir: "~/app", Sudo: sudo}); !strings.HasPrefix(got, "/home/admin/app\n") {
			t.Errorf("Sudo %v: script in ~/app prints %q", sudo, got)
		}
	}
	at := filepath.Join(t.TempDir(), "got")
	run(t, m, provision.Download{Source: "~/app", Dest: at})
	if text, err := os.ReadFile(filepath.Join(at, "login")); err != nil || !bytes.Equal(text, []byte("text")) {
		t.Errorf("downloaded file = %q, %v", text, err)
	}
}

func TestHomeUnknown(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{Facts: bake.Facts{Home: "nowhere"}})
	err := provision.File{Content: "x", Dest: "~/x"}.Provision(t.Context(), m)
	if want := `find the login's home for ~/x: the machine reports "nowhere", which is not an absolute path`; err == nil || err.Error() != want {
		t.Errorf("Provision() = %v, want %s", err, want)
	}
}

func TestPathsValidate(t *testing.T) {
	tree := fstest.MapFS{"a": {}}
	fields := map[string]func(path string) bake.Provisioner{
		"File.Dest":        func(p string) bake.Provisioner { return provision.File{Content: "x", Dest: p} },
		"Template.Dest":    func(p string) bake.Provisioner { return provision.Template{Content: "x", Dest: p} },
		"Dir.Dest":         func(p string) bake.Provisioner { return provision.Dir{FS: tree, Dest: p} },
		"Download.Source":  func(p string) bake.Provisioner { return provision.Download{Source: p, Dest: "x"} },
		"Script.Dir":       func(p string) bake.Provisioner { return provision.Script{Content: "x", Dir: p} },
		"Script.RemoteDir": func(p string) bake.Provisioner { return provision.Script{Content: "x", RemoteDir: p} },
	}
	for field, with := range fields {
		invalid(t, with("~/x"), nil)
		invalid(t, with("app"), []string{field + `: "app" is not an absolute path on the machine`})
		invalid(t, with("./~/app"), []string{field + `: "./~/app" is not an absolute path on the machine`})
		invalid(t, with("~other/x"), []string{field + `: "~other/x": only the login's own home is expanded: write "~/", or the absolute path`})
		invalid(t, with("~root"), []string{field + `: "~root": only the login's own home`})
		invalid(t, with("$HOME/x"), []string{field + `: "$HOME/x": variables are not expanded: write "~/" for the login's home`})
		invalid(t, with("~/a\x00"), []string{field + ": "})
		if file := slices.Contains([]string{"File.Dest", "Template.Dest"}, field); file {
			invalid(t, with("~"), []string{field + `: "~" is a directory: name the file`})
			invalid(t, with("~/"), []string{field + `: "~/" is a directory: name the file`})
		} else {
			invalid(t, with("~"), nil)
		}
	}
	invalid(t, provision.Download{Source: "/x", Dest: "~/x"}, []string{`Download.Dest: "~/x": the baking host's home is not expanded: use os.UserHomeDir`})
}

// A func that uses the machine itself is told where to find the home.
func TestHomeOfFunc(t *testing.T) {
	m := baketest.NewMachine(nil)
	err := m.Put(t.Context(), &bake.Upload{Content: strings.NewReader("x"), Dest: "~/x"})
	if _, ok := errors.AsType[*bake.FieldError](err); !ok || !strings.Contains(err.Error(), `does not expand "~", join Facts.Home`) {
		t.Errorf("Put(~/x) = %v, want the remedy", err)
	}
	err = m.Get(t.Context(), &bake.Download{Content: &bytes.Buffer{}, Source: "~/x"})
	if _, ok := errors.AsType[*bake.FieldError](err); !ok || !strings.Contains(err.Error(), `does not expand "~", join Facts.Home`) {
		t.Errorf("Get(~/x) = %v, want the remedy", err)
	}
}
