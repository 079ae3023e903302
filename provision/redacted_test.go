package provision_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
	"github.com/bakestone-go/bakestone/provision/check"
)

// Every field of every provisioner refuses the printed form of a secret: it would be
// in the image in place of the secret.
func TestPrintedSecretsInEveryField(t *testing.T) {
	printed := "token=" + fmt.Sprint(bake.NewSecret("hunter2"))
	for _, pair := range every() {
		typ := reflect.TypeOf(pair[0])
		if typ.Kind() != reflect.Struct {
			continue
		}
		for _, field := range reflect.VisibleFields(typ) {
			if !field.IsExported() {
				continue
			}
			value := reflect.New(typ).Elem()
			value.Set(reflect.ValueOf(pair[0]))
			name := typ.Name() + "." + field.Name
			switch v := value.FieldByIndex(field.Index).Addr().Interface().(type) {
			case *string:
				*v = printed
			case *[]string:
				*v = []string{"x", printed}
			case *map[string]string:
				*v = map[string]string{"A": "1", "B": printed}
			case *any:
				*v = map[string]any{"db": map[string]any{"users": []any{"x", map[string]string{"password": printed}}}}
				if name == "Template.Data" {
					continue // only the rendered text counts
				}
			default:
				continue
			}
			p, _ := reflect.TypeAssert[bake.Provisioner](value)
			err := bake.Validate(nil, &bake.Image{Name: "x", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{p}})
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "[redacted]") {
				t.Errorf("%s = %q: Validate() = %v, want an error that names the field", name, printed, err)
			}
		}
	}
}

func TestPrintedSecretsValidate(t *testing.T) {
	secret := bake.NewSecret("hunter2")
	auth := base64.StdEncoding.EncodeToString([]byte("user:" + secret.String()))
	config, err := json.Marshal(map[string]any{"auths": map[string]bake.Secret{"host": secret}})
	if err != nil {
		t.Fatal(err)
	}
	const printed = ": contains [redacted], the printed form of a bake.Secret: put the Secret into a field for secrets, or call its Reveal"
	dir := files(t, map[string]string{"a.yml": ""})
	for name, test := range map[string]struct {
		p    bake.Provisioner
		want string
	}{
		"env":      {provision.Script{Content: "x", Env: map[string]string{"A": "1", "TOKEN": secret.String()}}, `Script.Env["TOKEN"]` + printed},
		"base64":   {provision.Script{Content: "x", Env: map[string]string{"AUTH": auth}}, `Script.Env["AUTH"]` + printed},
		"argument": {provision.Script{Content: "x", Args: []string{"-p", fmt.Sprintf("%v", secret)}}, "Script.Args[1]" + printed},
		"content":  {provision.File{Content: fmt.Sprintf("password=%s\n", secret), Dest: "/x"}, "File.Content" + printed},
		"JSON":     {provision.File{Content: string(config), Dest: "/x"}, "File.Content" + printed},
		"struct":   {provision.File{Content: fmt.Sprintf("%+v", struct{ Password bake.Secret }{secret}), Dest: "/x"}, "File.Content" + printed},
		"data":     {provision.Template{Content: "{{.}}", Data: secret.String(), Dest: "/x"}, "Template.Content: content: a secret is printed as [redacted]"},
		"encoded":  {provision.Template{Content: "{{.A}}", Data: map[string]string{"A": auth}, Dest: "/x"}, "Template.Content: content: a secret is printed as [redacted]"},
		"template": {provision.Template{Content: secret.String(), Dest: "/x"}, "Template.Content" + printed},
		"vars": {provision.Ansible{Dir: dir, Playbooks: []string{"a.yml"}, Vars: map[string]any{"db": []any{map[string]any{"password": secret}}}},
			`Ansible.Vars["db"][0]["password"]` + printed},
		"windows":     {provision.WindowsScript{Content: "x", Elevated: &provision.Elevation{User: secret.String(), Password: secret}}, "WindowsScript.Elevated.User" + printed},
		"repository":  {provision.Packages{Repositories: []provision.Repository{{Name: "r", URL: "https://host", Key: secret.String()}}}, "Packages.Repositories[0].Key" + printed},
		"in sequence": {provision.Sequence{provision.Shell("true"), provision.Named{Name: "n", Provisioner: provision.Shell("login " + secret.String())}}, "Sequence[1]: Named.Provisioner: Script.Content" + printed},
		"name":        {provision.Named{Name: "use " + secret.String(), Provisioner: provision.Shell("x")}, "Named.Name" + printed},
		"check":       {check.All(check.Command{Line: "true"}, check.Command{Line: "login " + secret.String()}), "Checks[1].Line: contains [redacted], the printed form of a bake.Secret: use a bake.CheckFunc, whose Cmd has Secrets"},
		"func":        {bake.ProvisionFunc{Name: secret.String(), Do: untilCanceled.Do}, "ProvisionFunc.Name: contains [redacted]"},
		"secret":      {provision.Script{Content: "x", Secrets: map[string]bake.Secret{"TOKEN": secret}}, ""},
		"revealed":    {provision.File{Content: "password=" + secret.Reveal(), Dest: "/x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if test.want == "" {
				invalid(t, test.p, nil)
				return
			}
			invalid(t, test.p, []string{test.want})
		})
	}
}
