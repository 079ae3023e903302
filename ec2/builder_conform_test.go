package ec2_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestBuilderConforms breaks each step of the default configuration, and those of the
// others that differ; in the long form, with BAKESTONE_LONG=1, each of all three.
func TestBuilderConforms(t *testing.T) {
	t.Parallel()
	own := map[string][]string{
		"snapshots":    {"check source image", "snapshot volumes", "wait for snapshots", "register image", "wait for image"},
		"distribution": {"check destinations", "promote image"},
	}
	for name, fresh := range map[string]func(t *testing.T) baketest.Platform{
		"default": func(t *testing.T) baketest.Platform {
			t.Helper()
			server := newServer(t, nil)
			cloud := newCloud(server)
			return baketest.Platform{
				Builder:  ec2.Builder{Cloud: cloud, Source: ubuntu()},
				Layers:   ec2.Builder{Cloud: cloud},
				Existing: server.Leftovers,
			}
		},
		"snapshots": func(t *testing.T) baketest.Platform {
			t.Helper()
			server, _ := freezingServer(t, ec2test.Options{})
			cloud := newCloud(server)
			c := ec2.Capture{FromSnapshots: true, CrashConsistent: true}
			return baketest.Platform{
				Builder:  ec2.Builder{Cloud: cloud, Source: ubuntu(), Capture: c},
				Layers:   ec2.Builder{Cloud: cloud, Capture: c},
				Existing: server.Leftovers,
			}
		},
		"distribution": func(t *testing.T) baketest.Platform {
			t.Helper()
			server := roleServer(t, nil)
			cloud := newCloud(server)
			builder, _ := multiRegion(cloud).Builder.(ec2.Builder)
			layer := builder
			layer.Source = nil
			return baketest.Platform{Builder: builder, Layers: layer, Existing: server.Leftovers}
		},
	} {
		o := &baketest.ConformOptions{Run: synctest.Test, Parallel: true}
		if steps := own[name]; steps != nil && !long() {
			o.Breaks = func(step string) bool { return slices.Contains(steps, step) }
		}
		t.Run(name, func(t *testing.T) { baketest.Conform(t, fresh, o) })
	}
}
