package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/examples/internal/demo"
)

func TestDeployments(t *testing.T) {
	clock := clock.Scaled(demo.Speed)
	server := ec2test.New(&ec2test.Options{Commands: commands(), Clock: clock})
	defer server.Close()
	where := demo.New(server, "eu-west-1", clock)
	app := fstest.MapFS{
		"server.js": {Data: []byte("first"), Mode: 0o644},
		"debug.map": {Data: []byte("private"), Mode: 0o644},
	}
	set := Settings{Environment: "production", NodeVersion: "18", Workers: 8, App: app}
	deployed := func(wantPrimal string) string {
		t.Helper()
		var out bytes.Buffer
		if err := deploy(t.Context(), where, &out, set); err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		if want := "shop-primal: " + wantPrimal + " ami-"; !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
		_, last, _ := strings.Cut(out.String(), "shop-production: baked ")
		id, _, _ := strings.Cut(last, " ")
		return id
	}
	read := func(image, path string) string {
		t.Helper()
		data, err := server.ReadFile(image, path)
		if err != nil {
			return ""
		}
		return string(data)
	}

	first := deployed("baked")
	if got := read(first, "/srv/shop/server.js"); got != "first" {
		t.Errorf("server.js of the first deployment: %q", got)
	}
	if unit := read(first, "/etc/systemd/system/shop.service"); !strings.Contains(unit, "NODE_ENV=production WORKERS=8") {
		t.Errorf("the unit lacks its settings: %q", unit)
	}
	if read(first, "/srv/shop/debug.map") != "" || read(first, "/etc/nginx/sites-enabled/default") == "" {
		t.Error("debug.map is there, or nginx's site is not")
	}
	if keys := read(first, "/home/ubuntu/.ssh/authorized_keys"); strings.Contains(keys, "bakestone") {
		t.Errorf("the build's key stayed in the image: %q", keys)
	}

	app["server.js"].Data = []byte("second")
	second := deployed("reused")
	if got := read(second, "/srv/shop/server.js"); got != "second" {
		t.Errorf("server.js of the second deployment: %q", got)
	}
	set.NodeVersion = "20"
	deployed("baked")

	server.Publish(ec2test.Image{
		Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261121", Owner: ec2.Canonical,
	})
	if err := clock.Sleep(t.Context(), time.Minute); err != nil { // a source is looked up once for bakes of the same seconds
		t.Fatal(err)
	}
	deployed("baked") // from the newer Ubuntu
	deployed("reused")
}

func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), nil, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "shop-staging: baked ami-") {
		t.Errorf("the output names no AMI:\n%s", out.String())
	}
}
