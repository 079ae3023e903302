package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
	"github.com/bakestone-go/bakestone/internal/posixsh"
	"github.com/bakestone-go/bakestone/internal/redacted"
)

// The values of checkAbsolute's mayBeEmpty.
const (
	required = false
	optional = true
)

func exactlyOne(set ...bool) bool {
	n := 0
	for _, isSet := range set {
		if isSet {
			n++
		}
	}
	return n == 1
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// checkAbsolute reports a path on the machine that is not absolute.
func checkAbsolute(field, p string, mayBeEmpty bool) error {
	switch {
	case p == "" && mayBeEmpty:
		return nil
	case p == "":
		return bake.Invalid(field, "is required")
	case !path.IsAbs(p):
		return bake.Invalid(field, "%q is not an absolute path on the machine", p)
	case hasNUL(p):
		return bake.Invalid(field, "%q contains a NUL byte", p)
	}
	return nil
}

// checkEnv reports invalid environment variables in the fields Env and Secrets
// of the type owner.
func checkEnv(owner string, env map[string]string, secrets map[string]bake.Secret) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(env)) {
		errs = append(errs, checkVariable(owner+".Env", name, env[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		errs = append(errs, checkVariable(owner+".Secrets", name, secrets[name].Reveal()))
		if _, both := env[name]; both {
			errs = append(errs, bake.Invalid(owner+".Secrets", "%s is also in Env", name))
		}
	}
	return errors.Join(errs...)
}

func checkVariable(field, name, value string) error {
	switch {
	case !bake.ValidEnvName(name):
		return bake.Invalid(field, "invalid environment variable name %q", name)
	case hasNUL(value):
		return bake.Invalid(field, "the value of %s contains a NUL byte", name)
	}
	return nil
}

// checkRedacted reports the exported fields of v, of the type owner, that contain the
// printed form of a bake.Secret, which would be in the image.
func checkRedacted(owner string, v any) error {
	return redacted.Check(owner, v, "put the Secret into a field for secrets, or call its Reveal", bake.Invalid)
}

const maxStatus = 255

func checkExitCodes(field string, codes []int) error {
	for _, code := range codes {
		if code < 0 || code > maxStatus {
			return bake.Invalid(field, "invalid exit status %d", code)
		}
	}
	return nil
}

func checkMode(field string, mode fs.FileMode) error {
	if mode&^posixsh.ModeBits != 0 {
		return bake.Invalid(field, "%#o contains bits other than permissions: write 0o644 for rw-r--r--, and fs.ModeSetuid for set-user-id", uint32(mode))
	}
	return nil
}

func checkExclude(field string, patterns []string) error {
	if _, err := exclude.Parse(patterns); err != nil {
		return bake.Invalid(field, "%w", err)
	}
	return nil
}

// accept returns nil if err, the result of a command, has one of the exit
// statuses codes, else an error. Empty codes accept only 0.
func accept(err error, codes []int) error {
	if len(codes) == 0 {
		return err
	}
	status := 0
	if err != nil {
		var exit *bake.ExitError
		if !errors.As(err, &exit) || exit.Signal != "" {
			return err
		}
		status = exit.Status
	}
	switch {
	case slices.Contains(codes, status):
		return nil
	case err == nil:
		return fmt.Errorf("exit status 0 is not in %v", codes)
	}
	return err
}

func checkRetry(field string, r bake.Retry) error {
	if r.Attempts < 0 || r.Delay < 0 || r.MaxDelay < 0 {
		return bake.Invalid(field, "Attempts, Delay and MaxDelay must not be negative")
	}
	return nil
}

func declareEnv(in *bake.Inputs, env map[string]string, secrets map[string]bake.Secret) {
	in.Value("env", env)
	declareSecrets(in, "secret", secrets)
}

func declareSecrets(in *bake.Inputs, name string, secrets map[string]bake.Secret) {
	for _, key := range slices.Sorted(maps.Keys(secrets)) {
		in.Secret(name+" "+key, secrets[key])
	}
}

// checkOwner reports an Owner or Group of the type that no account or group can have.
func checkOwner(of, owner, group string) error {
	bad := func(name string) bool {
		return strings.HasPrefix(name, "-") || strings.ContainsFunc(name, unicode.IsSpace) || hasNUL(name)
	}
	switch {
	case bad(owner):
		return bake.Invalid(of+".Owner", "invalid name %q", owner)
	case bad(group):
		return bake.Invalid(of+".Group", "invalid name %q", group)
	}
	return nil
}

func declareOwner(in *bake.Inputs, mode fs.FileMode, owner, group string) {
	in.Value("mode", uint32(mode))
	in.Value("owner", owner)
	in.Value("group", group)
}
