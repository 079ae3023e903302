package provision

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/exclude"
)

// Whether a field may be empty.
const (
	required = false
	optional = true
)

func exactlyOne(set ...bool) bool {
	n := 0
	for _, is := range set {
		if is {
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

// checkFilePath reports what cannot be the path of a file on the machine.
func checkFilePath(field, p string) error {
	if err := checkAbsolute(field, p, required); err != nil {
		return err
	}
	if strings.HasSuffix(p, "/") {
		return bake.Invalid(field, "%q ends in a slash: it must name the file, not its directory", p)
	}
	return nil
}

// checkEnv reports what no environment can hold. Owner is the type whose
// fields Env and Secrets they are.
func checkEnv(owner string, env map[string]string, secrets map[string]bake.Secret) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(env)) {
		errs = append(errs, checkVariable(owner+".Env", name, env[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		errs = append(errs, checkVariable(owner+".Secrets", name, secrets[name].Reveal()))
		if _, both := env[name]; both {
			errs = append(errs, bake.Invalid(owner+".Secrets", "%s is in Env, too", name))
		}
	}
	return errors.Join(errs...)
}

func checkVariable(field, name, value string) error {
	switch {
	case !bake.ValidEnvName(name):
		return bake.Invalid(field, "%q is not a name of an environment variable", name)
	case hasNUL(value):
		return bake.Invalid(field, "the value of %s contains a NUL byte", name)
	}
	return nil
}

const highestStatus = 255

func checkExitCodes(field string, codes []int) error {
	for _, code := range codes {
		if code < 0 || code > highestStatus {
			return bake.Invalid(field, "%d is not an exit status", code)
		}
	}
	return nil
}

const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

func checkMode(field string, mode fs.FileMode) error {
	if mode&^modeBits != 0 {
		return bake.Invalid(field, "%#o has other than permission bits: write 0o644 for rw-r--r--, and fs.ModeSetuid for set-user-id", uint32(mode))
	}
	return nil
}

func checkExclude(field string, patterns []string) error {
	if _, err := exclude.Parse(patterns); err != nil {
		return bake.Invalid(field, "%w", err)
	}
	return nil
}

// accept is err, the end of a command, or nil if its exit status is one of
// codes. Empty codes is 0 alone.
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
		return fmt.Errorf("exit status 0 is none of %v", codes)
	}
	return err
}

// checkRetry reports times and numbers below zero.
func checkRetry(field string, r bake.Retry) error {
	if r.Attempts < 0 || r.Delay < 0 || r.MaxDelay < 0 {
		return bake.Invalid(field, "has a negative value")
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

func declareOwner(in *bake.Inputs, mode fs.FileMode, owner, group string) {
	in.Value("mode", uint32(mode))
	in.Value("owner", owner)
	in.Value("group", group)
}
