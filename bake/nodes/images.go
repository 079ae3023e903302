package nodes

import (
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Images calls define for each node of list and returns the images in the same order.
// It reports errors of define, nil images and duplicate image names, joined, each as an
// [*Error] with the node's file, line and name; it then returns no images.
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
		return errors.New("image is nil")
	}
	if other, taken := named[img.Name]; taken {
		return fmt.Errorf("image name %q is already used by node %s", img.Name, other)
	}
	return nil
}

// TimestampedName returns name and the Unix time of t: "web 1700000000". Package
// amicleanup reads such names with the pattern "{group} {unix}".
func TimestampedName(name string, t time.Time) string {
	return fmt.Sprintf("%s %d", name, t.Unix())
}
