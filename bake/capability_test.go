package bake_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// registering is a provisioner with every optional interface.
type registering struct {
	invalid error
	undone  *[]string
}

var (
	_ bake.Validator     = registering{}
	_ bake.Undoer        = registering{}
	_ bake.InputDeclarer = registering{}
)

func (registering) Provision(context.Context, bake.Machine) error { return errPlanted }
func (registering) String() string                                { return "register" }
func (r registering) Validate() error                             { return r.invalid }
func (r registering) DeclareInputs(in *bake.Inputs) error         { in.Value("v", 1); return nil }
func (r registering) Undo(context.Context, bake.Outcome) error {
	*r.undone = append(*r.undone, "register")
	return nil
}

type embedding struct{ registering }

type wrapping struct{ bake.Provisioner }

func (w wrapping) Unwrap() bake.Provisioner { return w.Provisioner }

// forms returns the forms in which a caller may pass r.
func forms(r registering) map[string]bake.Provisioner {
	return map[string]bake.Provisioner{
		"value": r, "address": &r, "embedded": embedding{r}, "embedded address": &embedding{r},
		"wrapped": wrapping{r}, "wrapped address": &wrapping{&r}, "wrapped twice": wrapping{wrapping{r}},
	}
}

func TestProvisionerKeepsCapabilities(t *testing.T) {
	for name := range forms(registering{}) {
		t.Run(name, func(t *testing.T) {
			var undone []string
			p := forms(registering{undone: &undone})[name]
			_, err := bake.Bake(t.Context(), nil, &bake.Image{
				Name: "web", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{p},
			})
			if !errors.Is(err, errPlanted) || !strings.Contains(err.Error(), "provision 1: register") {
				t.Errorf("Bake = %v, want %v in step %q", err, errPlanted, "provision 1: register")
			}
			if want := []string{"register"}; !slices.Equal(undone, want) {
				t.Errorf("undone %q, want %q", undone, want)
			}
			invalid := errors.New("invalid")
			p = forms(registering{invalid: invalid})[name]
			if err := bake.Validate(nil, &bake.Image{Name: "web", Builder: baketest.NewBuilder(nil), Provisioners: []bake.Provisioner{p}}); !errors.Is(err, invalid) {
				t.Errorf("Validate = %v, want %v", err, invalid)
			}
			if _, err := bake.InputsOf(p); err != nil {
				t.Errorf("InputsOf = %v, want nil", err)
			}
		})
	}
}

// The inputs include the type, so only embedding changes them.
func TestInputsOfWrappedProvisioner(t *testing.T) {
	sum := func(p bake.Provisioner) string {
		in, err := bake.InputsOf(p)
		if err != nil {
			t.Fatalf("InputsOf(%T) = %v", p, err)
		}
		return in.Sum()
	}
	all := forms(registering{})
	for _, name := range []string{"address", "wrapped", "wrapped address", "wrapped twice"} {
		if got, want := sum(all[name]), sum(all["value"]); got != want {
			t.Errorf("InputsOf(%s).Sum() = %s, want that of the value, %s", name, got, want)
		}
	}
	if sum(all["embedded"]) == sum(all["value"]) {
		t.Error("InputsOf(embedded).Sum() is that of the value, want another one")
	}
}

// wrappedBuilder embeds the interface, like a decorator in a caller's code.
type wrappedBuilder struct{ bake.Builder }

func (w wrappedBuilder) Unwrap() bake.Builder { return w.Builder }

func TestBuilderKeepsCapabilities(t *testing.T) {
	memory := baketest.NewBuilder(nil)
	img := &bake.Image{Name: "web", Builder: wrappedBuilder{wrappedBuilder{memory}}, Fingerprint: "1"}
	for i, want := range []bake.Status{bake.StatusBaked, bake.StatusReused} {
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatalf("Bake %d = %v", i+1, err)
		}
		if got := results[0].Status; got != want {
			t.Errorf("Bake %d: status %q, want %q", i+1, got, want)
		}
	}
}

func TestAs(t *testing.T) {
	if _, ok := bake.As[bake.Undoer](bake.Provisioner(nil)); ok {
		t.Error("As[Undoer](nil) found one")
	}
	if _, ok := bake.As[bake.Undoer](bake.Provisioner(bake.ProvisionFunc{})); ok {
		t.Error("As[Undoer](ProvisionFunc{}) found one")
	}
	if _, ok := bake.As[bake.Undoer](bake.Provisioner(wrapping{})); ok {
		t.Error("As[Undoer] of a wrapper of nil found one")
	}
}
