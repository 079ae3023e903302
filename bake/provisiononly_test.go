package bake_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// ProvisionOnly leaves nothing behind and runs neither checks nor publishers.
func TestProvisionOnly(t *testing.T) {
	b := baketest.NewBuilder(nil)
	var log []string
	note := func(name string) { log = append(log, name) }
	step := func(name string, at bake.Point) bake.Step {
		return bake.Step{
			Name: name, At: at,
			Do: func(context.Context) error { note(name); return nil },
			Undo: func(_ context.Context, outcome bake.Outcome) error {
				note("undo " + name + " " + outcome.String())
				return nil
			},
		}
	}
	img := &bake.Image{
		Name: "tried", Builder: b, ProvisionOnly: true, Fingerprint: "known",
		Steps: []bake.Step{step("provisioned", bake.BeforeCapture), step("captured", bake.AfterCapture), step("promoted", bake.AfterPromote)},
		Provisioners: []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error {
			note("provision")
			return nil
		}}},
		Checks:     []bake.Check{bake.CheckFunc{Do: func(context.Context, bake.Machine) error { note("check"); return nil }}},
		Publishers: []bake.Publisher{bake.PublisherFunc{Do: func(context.Context, bake.Artifact) error { note("publish"); return nil }}},
	}
	// An existing artifact with the fingerprint must not be reused.
	whole := *img
	whole.ProvisionOnly, whole.Steps = false, nil
	if _, err := bake.Bake(t.Context(), nil, &whole); err != nil {
		t.Fatal(err)
	}
	log = nil
	before := b.Existing()

	results, err := bake.Bake(t.Context(), nil, img)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; r.Status != bake.StatusProvisioned || r.Artifact != nil || r.Err != nil {
		t.Errorf("Bake: result %+v, want StatusProvisioned without an artifact", r)
	}
	if diff := cmp.Diff([]string{"provision", "provisioned", "undo provisioned canceled"}, log); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, b.Existing()); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}

	errPlanted := errors.New("planted")
	img.Provisioners = []bake.Provisioner{bake.ProvisionFunc{Do: func(context.Context, bake.Machine) error { return errPlanted }}}
	results, err = bake.Bake(t.Context(), nil, img)
	if !errors.Is(err, errPlanted) || results[0].Status != bake.StatusFailed {
		t.Errorf("Bake with a failing provisioner = %+v, %v", results[0], err)
	}

	layer := &bake.Image{Name: "layer", Builder: b, From: img}
	if err := bake.Validate(nil, img, layer); err == nil || !strings.Contains(err.Error(), `image layer: Image.From: image "tried" sets ProvisionOnly`) {
		t.Errorf("Validate of an image from a ProvisionOnly one = %v, want an error", err)
	}
	layer.ProvisionOnly, img.ProvisionOnly = true, false
	if err := bake.Validate(nil, img, layer); err != nil {
		t.Errorf("Validate of a ProvisionOnly layer = %v, want nil", err)
	}
}
