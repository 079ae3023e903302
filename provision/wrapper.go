package provision

import (
	"cmp"
	"context"
	"fmt"

	"github.com/bakestone-go/bakestone/bake"
)

// checkProvisioner reports a field that holds no provisioner or an invalid one.
func checkProvisioner(field string, p bake.Provisioner) error {
	if err := bake.ValidateValue(p); err != nil {
		return bake.Invalid(field, "%w", err)
	}
	return nil
}

// warn emits a message event with err as its reason.
func warn(ctx context.Context, err error, format string, args ...any) {
	bake.RunFromContext(ctx).Emit(bake.Event{Kind: bake.Message, Text: fmt.Sprintf(format, args...), Err: err.Error()})
}

// describe returns a name for p in messages.
func describe(p bake.Provisioner) string { return cmp.Or(bake.Describe(p), "func") }
