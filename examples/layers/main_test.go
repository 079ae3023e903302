package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

func TestDeployments(t *testing.T) {
	clock := clock.Scaled(demo.Speed)
	server := ec2test.New(&ec2test.Options{Commands: commands(), Clock: clock})
	defer server.Close()
	env := demo.New(server, "eu-west-1", clock)
	options := &bake.Options{Clock: clock}
	app := fstest.MapFS{
		"server.js": {Data: []byte("first"), Mode: 0o644},
		"debug.map": {Data: []byte("for developers only"), Mode: 0o644},
	}
	settings := Settings{Environment: "production", NodeVersion: "18", Workers: 8, App: app}
	// deployed deploys and returns the id of the AMI of carnivore.
	deployed := func(wantPrimal bake.Status) string {
		t.Helper()
		results, err := deploy(t.Context(), env.Cloud, options, settings)
		if err != nil {
			t.Fatalf("deploy = %v", err)
		}
		primal, carnivore := results[0], results[1]
		if primal.Image.Name != "shop-primal" || primal.Status != wantPrimal || primal.Artifact == nil {
			t.Errorf("deploy: first result %v, want shop-primal: %s", primal, wantPrimal)
		}
		if carnivore.Image.Name != "shop-production" || carnivore.Status != bake.StatusBaked {
			t.Errorf("deploy: second result %v, want shop-production: baked", carnivore)
		}
		return carnivore.Artifact.ID()
	}
	// read returns the content of a file of an image, or "".
	read := func(image, path string) string {
		t.Helper()
		data, err := server.ReadFile(image, path)
		if err != nil {
			return ""
		}
		return string(data)
	}

	first := deployed(bake.StatusBaked)
	if got := read(first, "/srv/shop/server.js"); got != "first" {
		t.Errorf("server.js of the first deployment contains %q, want \"first\"", got)
	}
	if unit := read(first, "/etc/systemd/system/shop.service"); !strings.Contains(unit, "NODE_ENV=production WORKERS=8") {
		t.Errorf("shop.service lacks NODE_ENV and WORKERS: %q", unit)
	}
	if read(first, "/srv/shop/debug.map") != "" {
		t.Error("debug.map was uploaded although it is excluded")
	}
	if read(first, "/etc/nginx/sites-enabled/default") == "" {
		t.Error("carnivore lacks nginx's site of primal")
	}
	if keys := read(first, "/home/ubuntu/.ssh/authorized_keys"); strings.Contains(keys, "bakestone") {
		t.Errorf("authorized_keys contains the build's key: %q", keys)
	}

	app["server.js"].Data = []byte("second")
	second := deployed(bake.StatusReused)
	if got := read(second, "/srv/shop/server.js"); got != "second" {
		t.Errorf("server.js of the second deployment contains %q, want \"second\"", got)
	}
	settings.NodeVersion = "20"
	deployed(bake.StatusBaked)

	server.Publish(ec2test.Image{
		Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261121", Owner: ec2.Canonical,
	})
	// Lookups of a source are shared by bakes within a few seconds.
	if err := clock.Sleep(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	deployed(bake.StatusBaked) // from the newer Ubuntu
	deployed(bake.StatusReused)
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), nil, &out); err != nil {
		t.Fatalf("run() = %v, output:\n%s", err, out.String())
	}
	for _, want := range []string{`\nshop-primal +baked .* ami-`, `\nshop-staging +baked .* ami-`, "\n2 baked\n"} {
		if !regexp.MustCompile(want).Match(out.Bytes()) {
			t.Errorf("run(): output lacks %q:\n%s", want, out.String())
		}
	}
}
