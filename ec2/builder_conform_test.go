package ec2_test

import (
	"testing"

	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/ec2"
)

func TestBuilderConforms(t *testing.T) {
	baketest.Conform(t, func(t *testing.T) baketest.Platform {
		t.Helper()
		server := newServer(t, nil)
		cloud := newCloud(server)
		return baketest.Platform{
			Builder:  ec2.Builder{Cloud: cloud, Source: ubuntu()},
			Layers:   ec2.Builder{Cloud: cloud},
			Existing: server.Leftovers,
		}
	})
}
