package provision

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/bake"
)

// Packages installs, removes and upgrades packages as root, with the machine's
// package manager: apt-get, dnf, yum, zypper or apk. A single command adds the
// repositories, upgrades, installs and removes, in this order. At least one of
// these fields must be set, or Clean.
//
// If all packages are already installed, it does not contact the repositories. The
// package manager runs without prompts: apt-get keeps configuration files that were
// changed on the machine, and does not restart services (needrestart).
type Packages struct {
	// Install lists the packages to install: "nginx". A version, as in
	// "nginx=1.24.0-2" or "nginx=1.24*", replaces an installed one. Downgrades
	// work with apt-get and zypper, and with others if they do so by default.
	// zypper supports no version patterns, apk only a "*" at the end. An item can
	// be the path of a package file on the machine.
	Install []string

	// Remove lists the packages to remove.
	Remove []string

	// Purge also deletes the configuration of removed packages. It affects only
	// apt-get.
	Purge bool

	// Upgrade upgrades all installed packages: dist-upgrade of apt-get, upgrade
	// or update of the others.
	Upgrade bool

	// Repositories are added before anything else.
	Repositories []Repository

	// NoRecommends does not install packages that others only recommend.
	NoRecommends bool

	// NoRefresh uses the package lists on the machine. By default, they are
	// fetched before packages are installed or upgraded.
	NoRefresh bool

	// Clean removes downloaded packages and package lists at the end, which keeps
	// them out of the image.
	Clean bool

	// LockTimeout limits the wait while another process locks the package manager,
	// such as the automatic upgrades of some machines at boot. Zero means five
	// minutes. dnf and yum wait until the context ends.
	LockTimeout time.Duration

	// Retry controls retries of the command. Zero Attempts mean three, zero Delay
	// means five seconds. Unlike [Retry], it does not retry if a package does not
	// exist.
	Retry bake.Retry
}

var (
	_ bake.Provisioner   = Packages{}
	_ bake.Validator     = Packages{}
	_ bake.InputDeclarer = Packages{}
)

const (
	defaultLockTimeout     = 5 * time.Minute
	defaultPackageAttempts = 3
	defaultPackageDelay    = 5 * time.Second
)

// String returns "packages: " and the actions.
func (p Packages) String() string {
	var parts []string
	if len(p.Repositories) > 0 {
		names := make([]string, 0, len(p.Repositories))
		for _, r := range p.Repositories {
			names = append(names, r.Name)
		}
		parts = append(parts, "repository "+strings.Join(names, " "))
	}
	if p.Upgrade {
		parts = append(parts, "upgrade")
	}
	if len(p.Install) > 0 {
		parts = append(parts, "install "+strings.Join(p.Install, " "))
	}
	if len(p.Remove) > 0 {
		parts = append(parts, "remove "+strings.Join(p.Remove, " "))
	}
	if p.Clean {
		parts = append(parts, "clean")
	}
	return "packages: " + strings.Join(parts, ", ")
}

// Validate reports invalid names and versions, and conflicting fields.
func (p Packages) Validate() error {
	var errs []error
	if len(p.Install)+len(p.Remove)+len(p.Repositories) == 0 && !p.Upgrade && !p.Clean {
		errs = append(errs, bake.Invalid("Packages", "nothing to do: set Install, Remove, Upgrade, Repositories or Clean"))
	}
	name := regexp.MustCompile(`^[@A-Za-z0-9/][A-Za-z0-9@/._:~+-]*$`)
	version := regexp.MustCompile(`^[A-Za-z0-9*][A-Za-z0-9*?._:~^+-]*$`)
	for i, spec := range p.Install {
		field := fmt.Sprintf("Packages.Install[%d]", i)
		pkg, pin, pinned := strings.Cut(spec, "=")
		switch {
		case !name.MatchString(pkg):
			errs = append(errs, bake.Invalid(field, "invalid package name %q", pkg))
		case strings.HasSuffix(pkg, "-"):
			errs = append(errs, bake.Invalid(field, "invalid package name %q: apt-get would remove the package", pkg))
		case pinned && !version.MatchString(pin):
			errs = append(errs, bake.Invalid(field, "invalid version %q", pin))
		case slices.Contains(p.Remove, pkg):
			errs = append(errs, bake.Invalid(field, "%s is also in Remove", pkg))
		}
	}
	for i, pkg := range p.Remove {
		if !name.MatchString(pkg) || strings.HasPrefix(pkg, "/") {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Packages.Remove[%d]", i), "invalid package name %q", pkg))
		}
	}
	for i, r := range p.Repositories {
		errs = append(errs, r.validate(fmt.Sprintf("Packages.Repositories[%d]", i)))
	}
	if p.Purge && len(p.Remove) == 0 {
		errs = append(errs, bake.Invalid("Packages.Purge", "requires Remove"))
	}
	if p.LockTimeout < 0 {
		errs = append(errs, bake.Invalid("Packages.LockTimeout", "is negative"))
	}
	errs = append(errs, checkRetry("Packages.Retry", p.Retry))
	return errors.Join(append(errs, checkRedacted("Packages", p))...)
}

// DeclareInputs declares every field but LockTimeout and Retry. Package versions
// in the repositories are unknown before the build.
func (p Packages) DeclareInputs(in *bake.Inputs) error {
	in.Value("install", p.Install)
	in.Value("remove", p.Remove)
	in.Value("purge", p.Purge)
	in.Value("upgrade", p.Upgrade)
	in.Value("no recommends", p.NoRecommends)
	in.Value("no refresh", p.NoRefresh)
	in.Value("clean", p.Clean)
	errs := make([]error, 0, len(p.Repositories))
	for i, r := range p.Repositories {
		errs = append(errs, r.declare(in, fmt.Sprintf("repository %d ", i+1)))
	}
	return errors.Join(errs...)
}

// Provision runs the package manager, and again while another process locks it or
// a repository does not respond.
func (p Packages) Provision(ctx context.Context, m bake.Machine) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if p.LockTimeout == 0 {
		p.LockTimeout = defaultLockTimeout
	}
	if p.Retry.Attempts == 0 {
		p.Retry.Attempts = defaultPackageAttempts
	}
	if p.Retry.Delay == 0 {
		p.Retry.Delay = defaultPackageDelay
	}
	script, err := p.script()
	if err != nil {
		return err
	}
	build := bake.RunFromContext(ctx)
	start := build.Clock.Now()
	for failures := 0; ; {
		err := runGuestScript(ctx, m, p.String(), script)
		exit, ok := errors.AsType[*bake.ExitError](err)
		if !ok {
			return err
		}
		wait := defaultPackageDelay
		switch {
		case isLocked(exit):
			if waited := build.Clock.Now().Sub(start); waited >= p.LockTimeout {
				return fmt.Errorf("package manager locked by another process for %v: %w", waited.Round(time.Second), err)
			}
		case isMissing(exit):
			return err
		default:
			if failures++; failures >= p.Retry.Attempts {
				return err
			}
			wait = p.Retry.Wait(failures)
			build.Say("%s: exit status %d, retrying in %v", p, exit.Status, wait)
		}
		if sleepErr := build.Clock.Sleep(ctx, wait); sleepErr != nil {
			return fmt.Errorf("%w: %w", sleepErr, err)
		}
	}
}

const (
	zypperLocked    = 7   // ZYPPER_EXIT_ZYPP_LOCKED in zypper(8)
	commandNotFound = 127 // the shell's exit status
)

// isLocked reports whether another process locked the package manager.
func isLocked(exit *bake.ExitError) bool {
	return outputContains(exit, "could not get lock", "unable to acquire the dpkg", "unable to lock", "is locked by", "system management is locked") ||
		exit.Status == zypperLocked && outputContains(exit, "lock")
}

// isMissing reports whether a package or command does not exist, so retrying is
// pointless.
func isMissing(exit *bake.ExitError) bool {
	return exit.Status == guestRefused || exit.Status == commandNotFound || outputContains(exit, "unable to locate package", "has no installation candidate", "unable to find a match", "no match for argument",
		"no package matches", "not found in package names", "no provider of", "(no such package)") ||
		outputContains(exit, "version '") && outputContains(exit, "was not found")
}

// outputContains reports whether the last lines of output contain any of texts.
func outputContains(exit *bake.ExitError, texts ...string) bool {
	for _, line := range exit.Output {
		line = strings.ToLower(line)
		if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}
