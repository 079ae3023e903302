package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/ec2/ec2test/imagetest"
	"github.com/bakestone-go/bakestone/internal/testenv"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, args := range [][]string{nil, {"-all", "-spot"}} {
			var out bytes.Buffer
			if err := run(t.Context(), args, &out); err != nil {
				t.Fatalf("run(%q) = %v, output:\n%s", args, err, out.String())
			}
			if !strings.Contains(out.String(), "rails-base  baked ami-") {
				t.Errorf("run(%q): output lacks the AMI of rails-base:\n%s", args, out.String())
			}
		}
	})
}

// TestNewestBase bakes two bases, and rails-base from the newer.
func TestNewestBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Commands: commands()}})
		env.Bake(base(env.Cloud, Settings{Commit: "old"}))
		time.Sleep(2 * time.Second) // creation dates have a resolution of one second
		newest := env.Bake(base(env.Cloud, Settings{Commit: "new"}))
		image := env.Bake(rails(env.Cloud, Settings{Commit: "abc1234"}))
		if ami := image.AMI(); ami.Source != newest.ID || ami.Tags["commit"] != "abc1234" {
			t.Errorf("rails-base is %+v, want it baked from %s with the tag commit", ami, newest.ID)
		}
		if got := image.ReadFile("/etc/baked-as") + image.ReadFile("/etc/hostname"); got != "rails-base abc1234\nrails-base\n" {
			t.Errorf("/etc/baked-as and /etc/hostname contain %q, want minion id, commit and name", got)
		}
	})
}

func TestFailedStates(t *testing.T) {
	failing := commands()
	failing["salt-call"] = func(_ context.Context, p *ec2test.Process) int {
		const results = `{"local": ["Rendering SLS 'base:rails' failed"]}`
		for _, arg := range p.Args {
			if file, found := strings.CutPrefix(arg, "--out-file="); found && p.WriteFile(file, []byte(results), 0o600) != nil {
				return 3
			}
		}
		return 1
	}
	env := imagetest.Start(t, &imagetest.Options{Server: ec2test.Options{Commands: failing}})
	if err := env.BakeError(all(env.Cloud, Settings{Commit: "x"})...); !strings.Contains(err.Error(), "Rendering SLS 'base:rails' failed") {
		t.Errorf("Bake with failing states = %v, want Salt's error", err)
	}
	if left := env.Server.Leftovers(); len(left) > 0 {
		t.Errorf("Bake with failing states left %v", left)
	}
}

// TestRealSalt provisions a Debian machine as both images, one after the other, with
// a real Salt.
func TestRealSalt(t *testing.T) {
	testenv.Need(t, "salt")
	m := testenv.Guest(t, nil).Machine(t, nil)
	for _, img := range all(nil, Settings{Commit: "abc1234", SaltCall: "/opt/salt/bin/salt-call"}) {
		for _, p := range img.Provisioners {
			if err := p.Provision(t.Context(), m); err != nil {
				t.Fatalf("%s: %v", img.Name, err)
			}
		}
	}
	got, err := bake.Output(t.Context(), m, bake.Sh("cat /etc/baked-as /etc/motd /etc/hostname; stat -c %U /srv/rails/shared; getent group operators | cut -d: -f1"))
	if want := "rails-base abc1234\nBaked, not built by hand. Ask the bakers.\nrails-base\nrails\noperators"; err != nil || got != want {
		t.Errorf("files, owner and group are %q (%v), want %q", got, err, want)
	}
}
