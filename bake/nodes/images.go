package nodes

import (
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Images defines one image for each node of list, in its order. Define is
// called once for each; every error, a nil image and an image whose name
// another one has are reported, joined, each with the file, line and name of
// its node. There are no images when there is an error.
//
// To bake only some nodes, filter the list.
func Images[T any](list []Node[T], define func(n Node[T]) (*bake.Image, error)) ([]*bake.Image, error) {
	images := make([]*bake.Image, 0, len(list))
	named := map[string]string{}
	var errs []error
	for _, n := range list {
		img, err := define(n)
		if err == nil {
			err = checkImage(img, named)
		}
		if err != nil {
			errs = append(errs, &Error{File: n.File, Line: n.Line, Node: n.Name, Err: err})
			continue
		}
		named[img.Name] = n.Name
		images = append(images, img)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return images, nil
}

func checkImage(img *bake.Image, named map[string]string) error {
	if img == nil {
		return errors.New("no image was defined")
	}
	if other, taken := named[img.Name]; taken {
		return fmt.Errorf("node %s has an image of the same name, %q", other, img.Name)
	}
	return nil
}

// Stamp returns name and t as an image's name: "web 1700000000", the name and
// the seconds since 1970. Package amicleanup reads such a name with the
// pattern "{group} {unix}".
func Stamp(name string, t time.Time) string {
	return fmt.Sprintf("%s %d", name, t.Unix())
}
