package provision

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// home stands for the login's home at the start of a path on the machine.
const home = "~"

// checkPath reports an invalid path on the machine, which may be in the login's home.
func checkPath(field, p string, mayBeEmpty bool) error {
	switch {
	case inHome(p) && !hasNUL(p):
		return nil
	case strings.HasPrefix(p, home):
		return bake.Invalid(field, "%q: only the login's own home is expanded: write %q, or the absolute path of another home", p, home+"/")
	case strings.HasPrefix(p, "$"):
		return bake.Invalid(field, "%q: variables are not expanded: write %q for the login's home, or an absolute path", p, home+"/")
	}
	return checkAbsolute(field, p, mayBeEmpty)
}

// checkFilePath reports an invalid path of a file on the machine.
func checkFilePath(field, p string) error {
	if err := checkPath(field, p, required); err != nil {
		return err
	}
	if p == home || posixsh.NamesDirectory(p) {
		return bake.Invalid(field, "%q is a directory: name the file, not its directory", p)
	}
	return nil
}

func inHome(p string) bool { return p == home || strings.HasPrefix(p, home+"/") }

// expandHome returns the absolute path of p on the machine.
func expandHome(ctx context.Context, m bake.Machine, p string) (string, error) {
	if !inHome(p) {
		return p, nil
	}
	facts, err := m.Facts(ctx)
	if err != nil {
		return "", fmt.Errorf("find the login's home for %s: %w", p, err)
	}
	if !path.IsAbs(facts.Home) {
		return "", fmt.Errorf("find the login's home for %s: the machine reports %q, which is not an absolute path", p, facts.Home)
	}
	if p == home {
		return facts.Home, nil
	}
	return strings.TrimSuffix(facts.Home, "/") + strings.TrimPrefix(p, home), nil
}
