package ec2

import (
	"errors"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// checkRedacted reports the exported fields of v, of the type owner, that contain the
// printed form of a bake.Secret.
func checkRedacted(owner string, v any) error {
	var errs []error
	for _, field := range redacted.Fields(owner, v) {
		errs = append(errs, bake.Invalid(field, "contains %s, the printed form of a bake.Secret: others can read this field, so keep secrets out of it", bake.Secret{}))
	}
	return errors.Join(errs...)
}
