//go:build unix

package qemu_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/qemu"
)

// TestPlanIsWhatBakeDoes compares a plan with the events and the files of the bake.
func TestPlanIsWhatBakeDoes(t *testing.T) {
	t.Parallel()
	base, b := simple(t)
	b.Disks = []qemu.DataDisk{{Name: "db", Size: 1 << 30}}
	base.Builder = b
	outputs := t.TempDir()
	base.Publishers = []bake.Publisher{qemu.QCOW2{}, qemu.QCOW2{Path: filepath.Join(outputs, "x.qcow2")}}
	base.Checks = []bake.Check{bake.CheckFunc{Do: provisioned}}
	top := &bake.Image{Name: "top", From: base, Builder: qemu.Builder{Host: b.Host, Accelerator: qemu.TCG, Disks: []qemu.DataDisk{{Name: "log", Size: 1 << 20}}}}
	images := []*bake.Image{top, base}

	plan, err := qemu.Plan(t.Context(), images...)
	if err != nil {
		t.Fatalf("Plan() = %v", err)
	}
	if got := existing(t, b.Host); len(got) > 0 {
		t.Errorf("Plan() created %v", got)
	}
	created := map[string][]string{}
	options := &bake.Options{Observe: func(e bake.Event) {
		if e.Kind == bake.ResourceCreated && e.Resource.Kind != "image" {
			created[e.Image] = append(created[e.Image], e.Resource.Kind+" "+e.Resource.ID)
		}
	}}
	results, err := bake.Bake(t.Context(), options, images...)
	if err != nil {
		t.Fatal(err)
	}
	for i, img := range plan.Images {
		if img.Image != images[i].Name {
			t.Fatalf("plan of %q, want %q", img.Image, images[i].Name)
		}
		var temporary []string
		for _, r := range img.Creates {
			name := strings.ReplaceAll(r.Name, "BUILD", results[i].Build)
			if !r.Stays {
				temporary = append(temporary, r.Kind+" "+name)
			}
			if _, err := os.Stat(name); r.Kind != "machine" && (err == nil) != r.Stays {
				t.Errorf("%s %s after the bake: %v, but the plan says that it stays: %v", r.Kind, name, err, r.Stays)
			}
		}
		if diff := cmp.Diff(created[img.Image], temporary); diff != "" {
			t.Errorf("created by the bake of %s (-bake +plan):\n%s", img.Image, diff)
		}
	}
	if plan.Images[0].From != base.Name || plan.Images[1].Source.Path == "" {
		t.Errorf("plan starts from %+v", plan.Images)
	}

	var text strings.Builder
	if err := plan.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"top\n  source   image web\n  machine  2 CPUs, 1024 MiB, tcg\n", "creates  output " + filepath.Join(outputs, "x-db.qcow2") + ", which stays\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("WriteText() lacks %q:\n%s", want, text.String())
		}
	}
}

// TestPlanDownloadsNothing plans an image whose source is not in the cache.
func TestPlanDownloadsNothing(t *testing.T) {
	img, b := simple(t)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("Plan() downloads") }))
	defer server.Close()
	b.Source = qemu.URL{URL: server.URL + "/disk.qcow2", SHA256: strings.Repeat("0", 64)}
	img.Builder = b
	plan, err := qemu.Plan(t.Context(), img)
	if err != nil || plan.Images[0].Download != server.URL+"/disk.qcow2" {
		t.Errorf("Plan() = %+v, %v, want the URL", plan, err)
	}
	b.Source = qemu.DiskFile("missing")
	img.Builder = b
	other := &bake.Image{Name: "other", Builder: b}
	plan, err = qemu.Plan(t.Context(), img, other)
	wantError(t, err, "image web: open missing")
	wantError(t, err, "image other: open missing")
	if kinds := func(r qemu.PlannedResource) bool { return r.Kind == "machine" }; !slices.ContainsFunc(plan.Images[1].Creates, kinds) {
		t.Errorf("Plan() = %+v, want the rest of the plan", plan)
	}
}
