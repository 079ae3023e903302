package provision

import (
	"cmp"
	"context"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
)

// checkInner reports a provisioner within another one that is missing, or what
// it finds to be wrong with itself.
func checkInner(field string, p bake.Provisioner) error {
	if err := bake.ValidateValue(p); err != nil {
		return bake.Invalid(field, "%w", err)
	}
	return nil
}

// warn says something, and that err is the reason.
func warn(ctx context.Context, err error, format string, args ...any) {
	bake.RunFromContext(ctx).Emit(bake.Event{Kind: bake.Message, Text: fmt.Sprintf(format, args...), Err: err.Error()})
}

// describe names p among others.
func describe(p bake.Provisioner) string { return cmp.Or(bake.Describe(p), "func") }
