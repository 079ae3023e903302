package provision_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"text/template"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/sandbox"
	"github.com/bakestone-go/bakestone/provision"
)

type site struct {
	Host     string
	Ports    []int
	Password bake.Secret
	Deep     map[string]any
}

func TestTemplate(t *testing.T) {
	m, h := embedded(t, sandbox.Options{})
	data := site{Host: "it's", Ports: []int{80, 443}, Password: bake.NewSecret("hidden-value"), Deep: map[string]any{"more": &[]bake.Secret{bake.NewSecret("deep-secret")}}}
	p := provision.Template{
		Content: "host {{upper .Host}}{{range .Ports}} {{.}}{{end}}\npassword {{.Password.Reveal}}\n",
		Data:    data, Funcs: template.FuncMap{"upper": strings.ToUpper},
		Dest: "/etc/site/site.conf", Mode: 0o640, Owner: "www-data", Group: "adm", Sudo: true,
	}
	provisionTwice(t, m, p, "changed the file")
	if got, want := readDisk(t, h, "/etc/site/site.conf"), "host IT'S 80 443\npassword hidden-value\n"; got != want {
		t.Errorf("content = %q, want %q", got, want)
	}
	stat := func() string {
		out, err := bake.Output(t.Context(), m, bake.Sh("stat -c '%a %U %G' /etc/site/site.conf"))
		if err != nil {
			t.Error(err)
		}
		return out
	}
	if got := stat(); got != "640 www-data adm" {
		t.Errorf("stat = %s, want 640 www-data adm", got)
	}
	// A changed mode, owner or text is restored.
	for _, line := range []string{"chmod 644 F", "chown root F", "chgrp root F", "echo x >>F", "rm F"} {
		if err := m.Run(t.Context(), &bake.Cmd{Line: strings.ReplaceAll(line, "F", "/etc/site/site.conf"), Sudo: true}); err != nil {
			t.Fatal(err)
		}
		provisionTwice(t, m, p, "changed the file")
		if got := stat(); got != "640 www-data adm" {
			t.Errorf("after %s stat = %s, want 640 www-data adm", line, got)
		}
	}
}

// A file of another owner is replaced although no Owner is given.
func TestTemplateOwner(t *testing.T) {
	m, _ := embedded(t, sandbox.Options{})
	p := provision.Template{Content: "x\n", Dest: "/etc/site.conf", Sudo: true}
	provisionTwice(t, m, p, "changed the file")
	if err := m.Run(t.Context(), &bake.Cmd{Line: "chown www-data /etc/site.conf", Sudo: true}); err != nil {
		t.Fatal(err)
	}
	provisionTwice(t, m, p, "changed the file")
	if got, err := bake.Output(t.Context(), m, bake.Sh("stat -c %U /etc/site.conf")); err != nil || got != "root" {
		t.Errorf("owner = %q (error %v), want root", got, err)
	}
}

// Secrets anywhere in Data are masked.
func TestTemplateMasksSecrets(t *testing.T) {
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	messages, err := bakeMessages(t, m, provision.Sequence{
		provision.Template{
			Content: "{{.Password.Reveal}}", Dest: "/tmp/x",
			Data: site{Password: bake.NewSecret("hidden-value"), Deep: map[string]any{"more": &[]bake.Secret{bake.NewSecret("deep-secret")}}},
		},
		sayText("hidden-value and deep-secret"),
	})
	if err != nil || len(messages) != 2 || messages[1] != "[redacted] and [redacted]" {
		t.Errorf("messages = %q (error %v), want masked secrets", messages, err)
	}
}

func TestTemplateValidate(t *testing.T) {
	ok := provision.Template{Content: "x", Dest: "/x"}
	for name, test := range map[string]struct {
		change func(*provision.Template)
		want   string
	}{
		"no such field":     {func(p *provision.Template) { p.Content, p.Data = "{{.Hots}}", site{} }, "Hots"},
		"no such key":       {func(p *provision.Template) { p.Content, p.Data = "{{.a}}", map[string]string{"b": ""} }, `no entry for key "a"`},
		"bad template":      {func(p *provision.Template) { p.Content = "{{" }, "Template.Content: template: "},
		"a hidden secret":   {func(p *provision.Template) { p.Content, p.Data = "{{.Password}}", site{Password: bake.NewSecret("s")} }, "{{.Name.Reveal}}"},
		"missing file":      {func(p *provision.Template) { p.Content, p.Source = "", "missing.tmpl" }, "missing.tmpl"},
		"both":              {func(p *provision.Template) { p.Source = "x" }, "exactly one"},
		"FS without Source": {func(p *provision.Template) { p.FS = fstest.MapFS{} }, "Template.FS"},
		"Dest":              {func(p *provision.Template) { p.Dest = "/x/" }, "Template.Dest"},
		"Mode":              {func(p *provision.Template) { p.Mode = fs.ModeDir }, "Template.Mode"},
	} {
		t.Run(name, func(t *testing.T) {
			p := ok
			test.change(&p)
			invalid(t, p, []string{test.want})
		})
	}
}

func TestTemplateUploadFails(t *testing.T) {
	broken := errors.New("disk full")
	m := baketest.NewMachine(&baketest.MachineOptions{AnyCommand: true})
	m.FailPut("/x", broken)
	if err := (provision.Template{Content: "x", Dest: "/x"}).Provision(t.Context(), m); !errors.Is(err, broken) {
		t.Errorf("Provision() = %v, want %v", err, broken)
	}
	m = baketest.NewMachine(nil)
	m.OnPrefix("stat ", baketest.Reply{Err: bake.ErrDisconnected})
	if err := (provision.Template{Content: "x", Dest: "/x"}).Provision(t.Context(), m); !errors.Is(err, bake.ErrDisconnected) {
		t.Errorf("Provision() = %v, want %v", err, bake.ErrDisconnected)
	}
}
