package check_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/internal/forms"
	"github.com/bakestone-go/bakestone/provision/check"
)

// wrapped is a Test of a user's package that wraps another one.
type wrapped struct{ check.Test }

func (w wrapped) Unwrap() check.Test { return w.Test }

// every returns a value of each test of the package, and a struct that embeds it.
func every() [][2]check.Test {
	file := check.File{Path: "/a"}
	command := check.Command{Line: "true"}
	goss := check.Goss{Path: "missing"}
	port := check.Port{Number: 80}
	http := check.HTTP{URL: "http://localhost/"}
	service := check.Service{Name: "nginx"}
	pkg := check.Package{Name: "nginx"}
	user := check.User{}
	sysctl := check.Sysctl{Name: "vm.swappiness", Value: "10"}
	return [][2]check.Test{
		{file, struct{ check.File }{file}},
		{command, struct{ check.Command }{command}},
		{goss, struct{ check.Goss }{goss}},
		{port, struct{ check.Port }{port}},
		{http, struct{ check.HTTP }{http}},
		{service, struct{ check.Service }{service}},
		{pkg, struct{ check.Package }{pkg}},
		{user, struct{ check.User }{user}},
		{sysctl, struct{ check.Sysctl }{sysctl}},
	}
}

// result describes everything that Checks of one test do, including the command that
// they run.
func result(t *testing.T, test check.Test) map[string]string {
	t.Helper()
	checks := check.All(test)
	m := baketest.NewMachine(nil)
	m.OnPrefix("# check: "+bake.Describe(test), baketest.Reply{Stdout: "bakestone-check 0 is wrong\n" + check.Passed})
	err := checks.Check(t.Context(), m)
	return map[string]string{
		"name": checks.String(), "valid": fmt.Sprint(checks.Validate()), "error": fmt.Sprint(err), "commands": fmt.Sprint(m.Commands()),
	}
}

func TestTestsKeepCapabilities(t *testing.T) {
	var names []string
	for _, test := range every() {
		name := reflect.TypeOf(test[0]).Name()
		names = append(names, name)
		want := result(t, test[0])
		for form, test := range forms.Of(test[0], test[1], func(t check.Test) check.Test { return wrapped{t} }) {
			if diff := cmp.Diff(want, result(t, test)); diff != "" {
				t.Errorf("%s, %s: result differs from the value's (-want +got):\n%s", name, form, diff)
			}
		}
	}
	slices.Sort(names)
	all, err := forms.Types(".", "script")
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(name string) bool { return name == "Checks" })
	if diff := cmp.Diff(all, names); diff != "" {
		t.Errorf("tests of the package and those tested (-package +tested):\n%s", diff)
	}
}

func TestNilTests(t *testing.T) {
	for _, test := range []check.Test{nil, (*check.File)(nil)} {
		checks := check.All(test)
		if got := checks.String(); got != "nil" {
			t.Errorf("All(%#v).String() = %q, want nil", test, got)
		}
		if err := checks.Validate(); err == nil || err.Error() != "Checks[0]: is nil" {
			t.Errorf("All(%#v).Validate() = %v, want is nil", test, err)
		}
	}
}

type wrappedCheck struct{ inner bake.Check }

func (w wrappedCheck) Unwrap() bake.Check { return w.inner }

func (w wrappedCheck) Check(ctx context.Context, m bake.Machine) error { return w.inner.Check(ctx, m) }

type wrappedProvisioner struct{ bake.Provisioner }

func (w wrappedProvisioner) Unwrap() bake.Provisioner { return w.Provisioner }

func TestChecksKeepCapabilities(t *testing.T) {
	for _, checks := range []check.Checks{check.All(check.Port{Number: 80}), check.All(check.Port{})} {
		name, valid := checks.String(), fmt.Sprint(checks.Validate())
		for form, c := range forms.Of[bake.Check](checks, struct{ check.Checks }{checks}, func(c bake.Check) bake.Check { return wrappedCheck{c} }) {
			if got := bake.Describe(c); got != name {
				t.Errorf("%s: Describe() of the Check = %q, want %q", form, got, name)
			}
			if got := fmt.Sprint(bake.ValidateValue(c)); got != valid {
				t.Errorf("%s: ValidateValue() of the Check = %s, want %s", form, got, valid)
			}
		}
		_, wantErr := bake.InputsOf(checks)
		for form, p := range forms.Of[bake.Provisioner](checks, struct{ check.Checks }{checks}, func(p bake.Provisioner) bake.Provisioner { return wrappedProvisioner{p} }) {
			if got := bake.Describe(p); got != name {
				t.Errorf("%s: Describe() of the Provisioner = %q, want %q", form, got, name)
			}
			if got := fmt.Sprint(bake.ValidateValue(p)); got != valid {
				t.Errorf("%s: ValidateValue() of the Provisioner = %s, want %s", form, got, valid)
			}
			if _, err := bake.InputsOf(p); fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("%s: InputsOf() = %v, want %v", form, err, wantErr)
			}
		}
	}
}
