package bake_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
)

// The error of a func without a name tells how to name it, unless the connection or
// the build ended.
func TestUnnamedFunc(t *testing.T) {
	errNo := errors.New("no")
	images := map[string]func(name string, err error) *bake.Image{
		"ProvisionFunc.Name": func(name string, err error) *bake.Image {
			return &bake.Image{Provisioners: []bake.Provisioner{bake.ProvisionFunc{Name: name, Do: func(context.Context, bake.Machine) error { return err }}}}
		},
		"CheckFunc.Name": func(name string, err error) *bake.Image {
			return &bake.Image{Checks: []bake.Check{bake.CheckFunc{Name: name, Do: func(context.Context, bake.Machine) error { return err }}}}
		},
		"PublisherFunc.Name": func(name string, err error) *bake.Image {
			return &bake.Image{Publishers: []bake.Publisher{bake.PublisherFunc{Name: name, Do: func(context.Context, bake.Artifact) error { return err }}}}
		},
	}
	for field, image := range images {
		for _, test := range []struct {
			name string
			err  error
			want bool
		}{
			{"", errNo, true}, {" ", errNo, true}, {"page is served", errNo, false}, {"", bake.ErrDisconnected, false},
		} {
			img := image(test.name, test.err)
			img.Name, img.Builder = "web", baketest.NewBuilder(nil)
			_, err := bake.Bake(t.Context(), nil, img)
			if !errors.Is(err, test.err) {
				t.Fatalf("%s %q: Bake = %v, want %v", field, test.name, err, test.err)
			}
			if got := strings.Contains(err.Error(), "1: no\n\tset "+field+" to say what this func does"); got != test.want {
				t.Errorf("%s %q: Bake = %v, want a remedy: %v", field, test.name, err, test.want)
			}
		}
	}
}
