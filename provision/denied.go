package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/denial"
)

// explainDenied adds a remedy to an error of something that ran as the login and lacked
// a permission, unless the login is root.
func explainDenied(ctx context.Context, m bake.Machine, err error, remedy string) error {
	if err == nil || !isDenied(err) {
		return err
	}
	if facts, factsErr := m.Facts(ctx); factsErr == nil && facts.UID == 0 {
		return err
	}
	return fmt.Errorf("%w\n\t%s", err, remedy)
}

// explainTransfer adds a remedy to the error of a type that copies files: an owner that does
// not exist or, as explainDenied does, a permission.
func explainTransfer(ctx context.Context, m bake.Machine, err error, owner string, sudo bool) error {
	if err != nil && regexp.MustCompile(`chown: .*(invalid|unknown) (user|group)`).MatchString(err.Error()) {
		return fmt.Errorf("%w\n\t%s.Owner and Group must exist on the machine: create them first, by a User for example", err, owner)
	}
	if sudo {
		return err
	}
	return explainDenied(ctx, m, err, "set "+owner+".Sudo if it needs root")
}

func isDenied(err error) bool {
	if exit, ok := errors.AsType[*bake.ExitError](err); ok {
		return slices.ContainsFunc(exit.Output, denial.Is)
	}
	return errors.Is(err, fs.ErrPermission) || denial.Is(err.Error())
}
