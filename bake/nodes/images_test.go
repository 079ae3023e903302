package nodes_test

import (
	"errors"
	"testing"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/nodes"
)

func TestImages(t *testing.T) {
	list := []nodes.Node[attrs]{
		{Name: "web", File: "f", Line: 1},
		{Name: "db", File: "f", Line: 3},
		{Name: "old", File: "f", Line: 5},
	}
	images, err := nodes.Images(list, func(n nodes.Node[attrs]) (*bake.Image, error) {
		return &bake.Image{Name: n.Name}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, img := range images {
		if img.Name != list[i].Name {
			t.Errorf("Images: image %d is %s, want %s", i, img.Name, list[i].Name)
		}
	}
}

func TestImagesErrors(t *testing.T) {
	cause := errors.New("no such group")
	list := []nodes.Node[attrs]{
		{Name: "web", File: "f", Line: 1},
		{Name: "db", File: "f", Line: 3},
		{Name: "old", File: "f", Line: 5},
		{Name: "api", File: "f", Line: 7},
	}
	images, err := nodes.Images(list, func(n nodes.Node[attrs]) (*bake.Image, error) {
		switch n.Name {
		case "db":
			return nil, cause
		case "old":
			return nil, nil //nolint:nilnil // the case under test
		}
		return &bake.Image{Name: "same"}, nil
	})
	want := "f:3: node db: no such group\nf:5: node old: image is nil\n" +
		`f:7: node api: image name "same" is already used by node web`
	if images != nil || err == nil || err.Error() != want {
		t.Errorf("Images = %v,\n%v\nwant\n%s", images, err, want)
	}
	if !errors.Is(err, cause) {
		t.Errorf("errors.Is(%v, %v) = false", err, cause)
	}
}

func TestStamp(t *testing.T) {
	if got := nodes.TimestampedName("web", time.Unix(1700000000, 999)); got != "web 1700000000" {
		t.Errorf("got %q", got)
	}
}
