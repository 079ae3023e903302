package provision_test

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"text/template"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/provision"
)

func sumOf(t *testing.T, p bake.Provisioner) string {
	t.Helper()
	in, err := bake.InputsOf(p)
	if err != nil {
		t.Fatalf("InputsOf(%+v): %v", p, err)
	}
	return in.Sum()
}

// everyFieldCounts changes each field of base in turn and checks that the inputs
// change too, or for the fields in idle that they do not. This makes sure that a new
// field is declared or listed in idle. with maps fields to the value to change to;
// nil skips the field.
func everyFieldCounts[T bake.Provisioner](t *testing.T, base T, idle []string, with map[string]any) {
	t.Helper()
	want := sumOf(t, base)
	if again := sumOf(t, base); again != want {
		t.Fatal("Sum() differs between calls")
	}
	for i := range reflect.TypeFor[T]().NumField() {
		field := reflect.TypeFor[T]().Field(i)
		if !field.IsExported() {
			continue
		}
		changed := reflect.New(reflect.TypeFor[T]()).Elem()
		changed.Set(reflect.ValueOf(base))
		if value, ok := with[field.Name]; ok && value == nil {
			continue
		} else if ok {
			changed.Field(i).Set(reflect.ValueOf(value))
		} else {
			change(t, field.Name, changed.Field(i))
		}
		p, ok := reflect.TypeAssert[bake.Provisioner](changed)
		if !ok {
			t.Fatalf("%v is not a Provisioner", changed.Type())
		}
		if got := sumOf(t, p); (got == want) != slices.Contains(idle, field.Name) {
			t.Errorf("changing %s.%s keeps the sum: %v", reflect.TypeFor[T]().Name(), field.Name, got == want)
		}
	}
}

// change sets v to a different value.
func change(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch value := v.Interface().(type) {
	case string:
		v.SetString(value + "-changed")
	case bool:
		v.SetBool(!value)
	case int, time.Duration:
		v.SetInt(v.Int() + 1)
	case fs.FileMode:
		v.SetUint(v.Uint() ^ 0o7)
	case []string:
		v.Set(reflect.ValueOf(append(slices.Clone(value), "changed")).Convert(v.Type()))
	case []int:
		v.Set(reflect.ValueOf(append(slices.Clone(value), 7)))
	case map[string]string:
		v.Set(reflect.ValueOf(map[string]string{"CHANGED": "1"}))
	case bake.Secret:
		v.Set(reflect.ValueOf(bake.NewSecret("changed")))
	case map[string]bake.Secret:
		v.Set(reflect.ValueOf(bake.Secrets(map[string]string{"CHANGED": "1"})))
	default:
		if v.Type() == reflect.TypeFor[bake.Provisioner]() {
			v.Set(reflect.ValueOf(provision.Shell("changed")))
			return
		}
		t.Fatalf("field %s of type %v: add a value to with", name, v.Type())
	}
}

func TestInputsOfEveryField(t *testing.T) {
	one := fstest.MapFS{"f": {Data: []byte("1")}, "g": {Data: []byte("1g")}, "d/f": {Data: []byte("1")}}
	other := fstest.MapFS{"f": {Data: []byte("2")}, "g": {Data: []byte("1"), Mode: 0o755}, "d/f": {Data: []byte("2")}}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("some text"), 0o600); err != nil {
		t.Fatal(err)
	}
	type with = map[string]any

	everyFieldCounts(t, provision.Script{Content: "a\r\n"}, []string{"FS"}, with{"Path": file, "FS": one, "Files": nil})
	everyFieldCounts(t, provision.Script{Path: "f", FS: one}, []string{"Content", "KeepCRLF"}, with{"Path": "g", "FS": other, "Files": []string{"d"}})

	everyFieldCounts(t, provision.File{Source: "f", FS: other, Dest: "/d"}, []string{"Content"}, with{"Source": "g", "FS": one})
	everyFieldCounts(t, provision.File{Content: "x", Dest: "/d"}, []string{"FS"}, with{"Source": file, "FS": one})
	everyFieldCounts(t, provision.Dir{FS: one, Dest: "/d"}, nil, with{"Delete": true, "Source": "d", "FS": other, "Exclude": []string{"f"}})
	everyFieldCounts(t, provision.Dir{Source: filepath.Dir(file), Dest: "/d"}, nil, with{"Source": t.TempDir(), "FS": nil, "Exclude": []string{"file"}})
	everyFieldCounts(t, provision.Download{Source: "/a", Dest: "b"}, []string{"Dest"}, nil)
	everyFieldCounts(t, provision.Local{Command: "make"}, []string{"Stdout", "Stderr"}, with{
		"Reads": []string{filepath.Dir(file)}, "Stdout": io.Discard, "Stderr": io.Discard,
	})
	everyFieldCounts(t, bake.ProvisionFunc{Name: "f", Version: "1"}, []string{"Do"}, with{
		"Do": func(context.Context, bake.Machine) error { return nil },
	})
	everyFieldCounts(t, provision.Reboot{}, nil, nil)
	everyFieldCounts(t, provision.Pause{For: time.Second}, nil, nil)

	everyFieldCounts(t, provision.Template{Source: "f", FS: one, Dest: "/d"}, []string{"Content", "Data", "Funcs"}, with{
		"FS": other, "Source": "g", "Data": 1, "Funcs": template.FuncMap{},
	})
	everyFieldCounts(t, provision.Template{Content: "{{.}}", Data: 1, Dest: "/d"}, []string{"FS", "Funcs"}, with{
		"FS": other, "Source": file, "Data": 2, "Funcs": template.FuncMap{},
	})
	everyFieldCounts(t, provision.User{Name: "u"}, nil, nil)
	everyFieldCounts(t, provision.PowerShell("x"), []string{"FS"}, with{"Path": file, "FS": one, "Elevated": &provision.Elevation{}})
	everyFieldCounts(t, provision.WindowsScript{Content: "x", Elevated: &provision.Elevation{}}, []string{"FS"}, with{"Path": file, "FS": one, "Elevated": &provision.Elevation{User: "x"}})
	everyFieldCounts(t, provision.WindowsScript{Path: "f", FS: one}, []string{"Content"}, with{"Path": "g", "FS": other, "Elevated": &provision.Elevation{}})
	everyFieldCounts(t, provision.WindowsReboot{}, []string{"Timeout"}, nil)
	everyFieldCounts(t, provision.WaitCloudInit{}, nil, nil)
	inner := provision.Shell("echo")
	everyFieldCounts(t, provision.Retry{Provisioner: inner}, []string{"Attempts", "Delay", "MaxDelay"}, nil)
	everyFieldCounts(t, provision.Timeout{Provisioner: inner}, []string{"After"}, nil)
	everyFieldCounts(t, provision.ContinueOnError{Provisioner: inner}, nil, nil)
	everyFieldCounts(t, provision.OnlyIf{Provisioner: inner}, nil, with{"Facts": nil})
	everyFieldCounts(t, provision.Breakpoint{}, []string{"Note", "Wait", "KeyDir"}, with{
		"Wait": func(context.Context, bake.SSHAccess) error { return nil },
	})
	everyFieldCounts(t, provision.Service{Name: "u"}, nil, nil)
	everyFieldCounts(t, provision.Hostname{Name: "u"}, nil, nil)
	everyFieldCounts(t, provision.Sysctl{File: "u"}, nil, nil)
}

func TestInputsIgnoreLocation(t *testing.T) {
	sums := map[string]bool{}
	for range 2 {
		dir := t.TempDir() // a second checkout
		for name, text := range map[string]string{"run.sh": "echo 1\n", "tree/a": "a"} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		sums[sumOf(t, provision.Sequence{
			provision.Script{Path: filepath.Join(dir, "run.sh")},
			provision.File{Source: filepath.Join(dir, "run.sh"), Dest: "/x"},
			provision.Dir{Source: filepath.Join(dir, "tree"), Dest: "/y"},
			provision.Download{Source: "/z", Dest: filepath.Join(dir, "z")},
		})] = true
	}
	if len(sums) != 1 {
		t.Error("the location of files is an input")
	}
	if sumOf(t, provision.Sequence{provision.Shell("1"), provision.Shell("2")}) == sumOf(t, provision.Sequence{provision.Shell("2"), provision.Shell("1")}) {
		t.Error("the order of a sequence is not an input")
	}
	if sumOf(t, provision.Shell("a b")) == sumOf(t, provision.Script{Content: "a b\n", Args: []string{""}}) {
		t.Error("an empty argument is not an input")
	}
}

func TestInputsErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for want, p := range map[string]bake.Provisioner{
		"ProvisionFunc.Version: is required":    bake.ProvisionFunc{Name: "f"},
		"1: read script: ":                      provision.Script{Path: missing},
		"1: content: ":                          provision.File{Source: missing, Dest: "/x"},
		"1: stat ":                              provision.Local{Command: "make", Reads: []string{missing}},
		"1: ProvisionFunc.Version: is required": provision.Sequence{bake.ProvisionFunc{}},
		"2: <nil> does not declare":             provision.Sequence{provision.Reboot{}, nil},
		"OnlyIf.Version: is required":           provision.OnlyIf{Facts: func(bake.Facts) bool { return true }, Provisioner: provision.Reboot{}},
		"invalid patterns":                      provision.Dir{FS: fstest.MapFS{}, Dest: "/x", Exclude: []string{"["}},
	} {
		_, err := bake.InputsOf(p)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("InputsOf(%v) = %v, want %q", p, err, want)
		}
	}
}

func TestInputsHideSecrets(t *testing.T) {
	in, err := bake.InputsOf(provision.Script{Content: "echo", Secrets: bake.Secrets(map[string]string{"TOKEN": "hidden-value"})})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(in.String(), "hidden-value") || !strings.Contains(in.String(), "secret TOKEN") {
		t.Errorf("inputs contain a secret or lack its name:\n%s", in)
	}
}

func TestInputsOfPackages(t *testing.T) {
	keys := fstest.MapFS{"a": {Data: []byte("a")}, "b": {Data: []byte("b")}}
	with := func(change func(*provision.Repository)) string {
		r := provision.Repository{Name: "r", URL: "http://r", KeyFile: "a", FS: keys}
		change(&r)
		return sumOf(t, provision.Packages{Repositories: []provision.Repository{r}})
	}
	base := with(func(*provision.Repository) {})
	for name, change := range map[string]func(*provision.Repository){
		"Name": func(r *provision.Repository) { r.Name = "s" }, "URL": func(r *provision.Repository) { r.URL = "http://s" },
		"Suite": func(r *provision.Repository) { r.Suite = "s" }, "Components": func(r *provision.Repository) { r.Components = []string{"c"} },
		"KeyFile": func(r *provision.Repository) { r.KeyFile = "b" }, "Unsigned": func(r *provision.Repository) { r.InsecureUnsigned = true },
		"FS": func(r *provision.Repository) { r.FS = fstest.MapFS{"a": keys["b"]} }, "Key": func(r *provision.Repository) { r.KeyFile, r.Key = "", "b" },
	} {
		if with(change) == base {
			t.Errorf("%s is not an input", name)
		}
	}
	everyFieldCounts(t, provision.Packages{Install: []string{"x"}}, []string{"LockTimeout", "Retry"}, map[string]any{
		"Repositories": []provision.Repository{{Name: "r", Key: "k"}}, "Retry": bake.Retry{Attempts: 9},
	})
}
