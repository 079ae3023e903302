package provision_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/forms"
	"github.com/bakestone-go/bakestone/provision"
)

type wrapped struct{ bake.Provisioner }

func (w wrapped) Unwrap() bake.Provisioner { return w.Provisioner }

// every returns a value of each provisioner of the package, and a struct that
// embeds it.
func every() [][2]bake.Provisioner {
	undoable := provision.Undoable{Provisioner: provision.Shell("x"), UndoFunc: func(context.Context, bake.Outcome) error { return errBroken }}
	sequence := provision.Sequence{undoable}
	retry := provision.Retry{Provisioner: undoable}
	timeout := provision.Timeout{Provisioner: undoable}
	goOn := provision.ContinueOnError{Provisioner: undoable}
	onlyIf := provision.OnlyIf{Command: "true", Provisioner: undoable}
	named := provision.Named{Name: "n", Provisioner: undoable}
	return [][2]bake.Provisioner{
		{provision.Script{}, struct{ provision.Script }{}},
		{provision.File{}, struct{ provision.File }{}},
		{provision.Dir{}, struct{ provision.Dir }{}},
		{provision.Download{}, struct{ provision.Download }{}},
		{provision.Local{}, struct{ provision.Local }{}},
		{provision.Reboot{}, struct{ provision.Reboot }{}},
		{provision.Ansible{}, struct{ provision.Ansible }{}},
		{provision.AnsibleLocal{}, struct{ provision.AnsibleLocal }{}},
		{provision.PuppetApply{}, struct{ provision.PuppetApply }{}},
		{provision.PuppetAgent{}, struct{ provision.PuppetAgent }{}},
		{provision.Salt{}, struct{ provision.Salt }{}},
		{provision.ChefZero{}, struct{ provision.ChefZero }{}},
		{provision.ChefClient{}, struct{ provision.ChefClient }{}},
		{provision.Packages{}, struct{ provision.Packages }{}},
		{provision.WindowsScript{}, struct{ provision.WindowsScript }{}},
		{provision.WindowsReboot{}, struct{ provision.WindowsReboot }{}},
		{provision.WaitCloudInit{}, struct{ provision.WaitCloudInit }{}},
		{provision.Breakpoint{}, struct{ provision.Breakpoint }{}},
		{provision.Template{}, struct{ provision.Template }{}},
		{provision.User{}, struct{ provision.User }{}},
		{provision.Service{}, struct{ provision.Service }{}},
		{provision.Hostname{}, struct{ provision.Hostname }{}},
		{provision.Sysctl{}, struct{ provision.Sysctl }{}},
		{provision.Pause{}, struct{ provision.Pause }{}},
		{undoable, struct{ provision.Undoable }{undoable}},
		{sequence, struct{ provision.Sequence }{sequence}},
		{retry, struct{ provision.Retry }{retry}},
		{timeout, struct{ provision.Timeout }{timeout}},
		{goOn, struct{ provision.ContinueOnError }{goOn}},
		{onlyIf, struct{ provision.OnlyIf }{onlyIf}},
		{named, struct{ provision.Named }{named}},
	}
}

// capabilities describes everything that the engine asks of a provisioner.
func capabilities(p bake.Provisioner) map[string]string {
	undo := "none"
	if u, ok := bake.As[bake.Undoer](p); ok {
		undo = fmt.Sprint(u.Undo(context.Background(), bake.Failed))
	}
	_, inputs := bake.InputsOf(p)
	_, validates := bake.As[bake.Validator](p)
	host := "none"
	if v, ok := bake.As[bake.HostValidator](p); ok {
		host = fmt.Sprint(v.ValidateHost())
	}
	return map[string]string{
		"name": bake.Describe(p), "valid": fmt.Sprint(validates, bake.ValidateValue(p)), "host": host, "undo": undo, "inputs": fmt.Sprint(inputs),
	}
}

func TestProvisionersKeepCapabilities(t *testing.T) {
	var names []string
	for _, p := range every() {
		name := reflect.TypeOf(p[0]).Name()
		names = append(names, name)
		want := capabilities(p[0])
		for form, p := range forms.Of(p[0], p[1], func(p bake.Provisioner) bake.Provisioner { return wrapped{p} }) {
			if diff := cmp.Diff(want, capabilities(p)); diff != "" {
				t.Errorf("%s, %s: capabilities differ from the value's (-want +got):\n%s", name, form, diff)
			}
		}
	}
	slices.Sort(names)
	all, err := forms.Types(".", "Provision")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, names); diff != "" {
		t.Errorf("provisioners of the package and those tested (-package +tested):\n%s", diff)
	}
}

// Wrappers and sequences pass Undo on to the provisioner.
func TestUndoPassesThroughWrappers(t *testing.T) {
	for _, pair := range every() {
		p := pair[0]
		u, ok := bake.As[bake.Undoer](p)
		switch reflect.TypeOf(p).Name() {
		case "Undoable", "Sequence", "Retry", "Timeout", "ContinueOnError", "OnlyIf", "Named":
			if !ok {
				t.Errorf("As[Undoer](%T) = false, want that of its provisioner", p)
			} else if err := u.Undo(t.Context(), bake.Failed); err == nil {
				t.Errorf("%T: Undo = nil, want %v", p, errBroken)
			}
		default:
			if ok {
				t.Errorf("As[Undoer](%T) = true, want false", p)
			}
		}
	}
}
