package ec2

import (
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// checkRedacted reports the exported fields of v, of the type owner, that contain the
// printed form of a bake.Secret.
func checkRedacted(owner string, v any) error {
	return redacted.Check(owner, v, "others can read this field, so keep secrets out of it", bake.Invalid)
}
