package provision

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"text/template"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// A Template renders a file on the baking host with package text/template and
// copies it to the machine. Exactly one of Source and Content must be set. It does
// not replace a file that already has the same text, mode and owner.
//
// Validate renders the template, so mistakes are found before the build begins.
type Template struct {
	// Source is a file on the baking host, or in FS if that is set.
	Source string
	FS     fs.FS

	// Content is the text of the template.
	Content string

	// Data is the template's dot: a struct, or a map, in which a missing key is an
	// error. To print a [bake.Secret] in it, call its method:
	// {{.Password.Reveal}}. The secret is masked in everything the build reports.
	Data any

	// Funcs are functions for the template besides those of text/template.
	Funcs template.FuncMap

	// Dest is the path of the file on the machine, absolute or in the login's home:
	// "~/.profile". Missing parent directories are created.
	Dest string

	// Mode is the permission bits. Zero means 0644.
	Mode fs.FileMode

	// Owner and Group are names on the machine. If empty, they are those of the
	// login, or root with Sudo.
	Owner string
	Group string

	// Sudo writes the file as root.
	Sudo bool
}

var (
	_ bake.Provisioner   = Template{}
	_ bake.Validator     = Template{}
	_ bake.InputDeclarer = Template{}
)

const defaultTemplateMode = 0o644

// String returns "template DEST".
func (t Template) String() string { return "template " + t.Dest }

// Validate reports invalid fields and a template that cannot be rendered.
func (t Template) Validate() error {
	printed := checkRedacted("Template", t)
	errs := []error{checkFilePath("Template.Dest", t.Dest), checkMode("Template.Mode", t.Mode), checkOwner("Template", t.Owner, t.Group), printed}
	switch {
	case !exactlyOne(t.Source != "", t.Content != ""):
		errs = append(errs, bake.Invalid("Template", "exactly one of Source and Content must be set"))
	case t.FS != nil && t.Source == "":
		errs = append(errs, bake.Invalid("Template.FS", "requires Source, the file in it"))
	case printed != nil: // the rendered text contains it as well
	default:
		if _, err := t.render(); err != nil {
			field := "Template.Content"
			if t.Source != "" {
				field = "Template.Source"
			}
			errs = append(errs, bake.Invalid(field, "%w", err))
		}
	}
	return errors.Join(errs...)
}

// DeclareInputs declares the rendered text, destination, mode and owner.
func (t Template) DeclareInputs(in *bake.Inputs) error {
	text, err := t.render()
	if err != nil {
		return err
	}
	in.Content("content", text)
	in.Value("dest", t.Dest)
	declareOwner(in, t.Mode, t.Owner, t.Group)
	in.Value("sudo", t.Sudo)
	return nil
}

// Provision renders the template and copies the file.
func (t Template) Provision(ctx context.Context, m bake.Machine) error {
	if err := t.Validate(); err != nil {
		return err
	}
	text, err := t.render()
	if err != nil {
		return err
	}
	maskData(bake.RunFromContext(ctx), reflect.ValueOf(t.Data), 0)
	if t.Mode == 0 {
		t.Mode = defaultTemplateMode
	}
	dest, err := expandHome(ctx, m, t.Dest)
	if err != nil {
		return err
	}
	same, err := t.isPresent(ctx, m, dest, text)
	if err != nil {
		return err
	}
	if same {
		reportChanges(ctx, t.String(), nil)
		return nil
	}
	err = m.Put(ctx, &bake.Upload{
		Content: bytes.NewReader(text), Size: int64(len(text)), Dest: dest,
		Mode: t.Mode, Owner: t.Owner, Group: t.Group, Sudo: t.Sudo,
	})
	if err != nil {
		return explainTransfer(ctx, m, err, "Template", t.Sudo)
	}
	reportChanges(ctx, t.String(), []string{"the file"})
	return nil
}

func (t Template) render() ([]byte, error) {
	text, name := []byte(t.Content), "content"
	if t.Source != "" {
		var err error
		name = filepath.Base(t.Source)
		if text, err = readFile(t.FS, t.Source); err != nil {
			return nil, err
		}
	}
	parsed, err := template.New(name).Option("missingkey=error").Funcs(t.Funcs).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, t.Data); err != nil {
		return nil, err
	}
	if redacted.In(out.String()) {
		return nil, fmt.Errorf("%s: a secret is printed as %s: write {{.Name.Reveal}}", name, bake.Secret{})
	}
	return out.Bytes(), nil
}

// isPresent reports whether the machine already has the file dest with this text, mode
// and owner. It reports false if the machine lacks stat or sha256sum.
func (t Template) isPresent(ctx context.Context, m bake.Machine, dest string, text []byte) (bool, error) {
	owner, group := "%U", "-"
	if t.Owner == "" {
		owner = fmt.Sprintf(`$([ "$(stat -c %%u %s 2>/dev/null)" = "$(id -u)" ] && echo self)`, posixsh.Quote(dest)) // the one who would write it
	}
	if t.Group != "" {
		group = "%G"
	}
	line := fmt.Sprintf(`stat -c "%%a %s %s" %[3]s 2>/dev/null && sha256sum <%[3]s || :`, owner, group, posixsh.Quote(dest))
	out, err := bake.Output(ctx, m, &bake.Cmd{Line: line, Sudo: t.Sudo, Quiet: true})
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(text)
	want := fmt.Sprintf("%s %s %s\n%s", posixsh.Mode(t.Mode), cmp.Or(t.Owner, "self"), cmp.Or(t.Group, "-"), hex.EncodeToString(sum[:]))
	return strings.HasPrefix(out, want), nil
}

// maxDataDepth limits the search for secrets in cyclic data.
const maxDataDepth = 10

// maskData masks every bake.Secret in v.
func maskData(build *bake.Run, v reflect.Value, depth int) {
	if !v.IsValid() || depth > maxDataDepth {
		return
	}
	if v.CanInterface() {
		if secret, ok := reflect.TypeAssert[bake.Secret](v); ok {
			build.Mask(secret)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		maskData(build, v.Elem(), depth+1)
	case reflect.Struct:
		for _, field := range v.Fields() {
			maskData(build, field, depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			maskData(build, v.Index(i), depth+1)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			maskData(build, v.MapIndex(key), depth+1)
		}
	default: // holds no secrets
	}
}
