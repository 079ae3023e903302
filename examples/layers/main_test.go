package main

import (
	"bytes"
	"regexp"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
)

func TestDeployments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Commands: commands()}})
		app := fstest.MapFS{
			"server.js": {Data: []byte("first"), Mode: 0o644},
			"debug.map": {Data: []byte("for developers only"), Mode: 0o644},
		}
		settings := Settings{Environment: "production", NodeVersion: "18", Workers: 8, App: app}
		deployed := func(wantPrimal bake.Status) *imagetest.Image {
			t.Helper()
			results, err := deploy(t.Context(), env.Cloud, env.BakeOptions(), settings)
			if err != nil {
				t.Fatalf("deploy = %v", err)
			}
			if results[0].Status != wantPrimal {
				t.Errorf("deploy: first result %v, want shop-primal: %s", results[0], wantPrimal)
			}
			return env.Baked(results[1])
		}
		first := deployed(bake.StatusBaked)
		first.Golden("testdata/carnivore.txt")
		first.Source().Golden("testdata/primal.txt")

		app["server.js"].Data = []byte("second")
		if got := deployed(bake.StatusReused).ReadFile("/srv/shop/server.js"); got != "second" {
			t.Errorf("server.js of the second deployment contains %q, want \"second\"", got)
		}
		settings.NodeVersion = "20"
		deployed(bake.StatusBaked)

		env.Server.Publish(ec2test.Image{
			Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261121", Owner: ec2.Canonical,
			Created: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
		})
		time.Sleep(time.Minute)    // lookups of a source are shared by bakes within a few seconds
		deployed(bake.StatusBaked) // from the newer Ubuntu
		deployed(bake.StatusReused)
	})
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), nil, &out); err != nil {
			t.Fatalf("run() = %v, output:\n%s", err, out.String())
		}
		for _, want := range []string{`\nshop-primal +baked .* ami-`, `\nshop-staging +baked .* ami-`, "\n2 baked\n"} {
			if !regexp.MustCompile(want).Match(out.Bytes()) {
				t.Errorf("run(): output lacks %q:\n%s", want, out.String())
			}
		}
	})
}
