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

// Packages installs, removes and upgrades packages, as root, by the machine's
// own manager: apt-get, dnf, yum, zypper or apk. At least one field says what
// to do. It is done in this order: repositories, upgrade, installation,
// removal; in a single command.
//
// What is there already is left alone, without a look at the repositories. The
// manager asks nothing: apt-get keeps configuration files that were changed on
// the machine, and does not restart services (needrestart).
type Packages struct {
	// Install is names of packages to install: "nginx". With a version,
	// "nginx=1.24.0-2" or "nginx=1.24*", another one is replaced, by an older
	// one too where the manager does that by itself or is apt-get or zypper.
	// On zypper a version has no pattern, on apk a "*" only at its end. A path
	// of a package file on the machine will do as well.
	Install []string

	// Remove is names of packages to remove.
	Remove []string

	// Purge removes the configuration of what is removed, too. Only apt-get
	// makes a difference.
	Purge bool

	// Upgrade brings everything installed to its newest version: dist-upgrade
	// of apt-get, and the upgrade or update of the others.
	Upgrade bool

	// Repositories are added first.
	Repositories []Repository

	// NoRecommends installs what is necessary alone, without the packages that
	// others only recommend.
	NoRecommends bool

	// NoRefresh takes the lists of packages as they are on the machine. By
	// default they are fetched before anything is installed or upgraded.
	NoRefresh bool

	// Clean removes downloaded packages and lists in the end, so that they are
	// not in the image.
	Clean bool

	// LockTimeout is how long another process may keep the manager waiting,
	// such as the upgrades that some machines begin when they boot. Zero is
	// five minutes. dnf and yum wait as long as their context lets them.
	LockTimeout time.Duration

	// Retry says how often it is tried; zero Attempts are three, and zero Delay
	// five seconds. A package that does not exist is not tried again.
	Retry bake.Retry
}

const (
	defaultLockTimeout  = 5 * time.Minute
	defaultPackageTries = 3
	defaultPackagePause = 5 * time.Second
)

// String is "packages: " and what is done.
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

// Validate reports all that no package manager would understand.
func (p Packages) Validate() error {
	var errs []error
	if len(p.Install)+len(p.Remove)+len(p.Repositories) == 0 && !p.Upgrade && !p.Clean {
		errs = append(errs, bake.Invalid("Packages", "there is nothing to do: set Install, Remove, Upgrade, Repositories or Clean"))
	}
	name := regexp.MustCompile(`^[@A-Za-z0-9/][A-Za-z0-9@/._:~+-]*$`)
	version := regexp.MustCompile(`^[A-Za-z0-9*][A-Za-z0-9*?._:~^+-]*$`)
	for i, spec := range p.Install {
		field := fmt.Sprintf("Packages.Install[%d]", i)
		pkg, pin, pinned := strings.Cut(spec, "=")
		switch {
		case !name.MatchString(pkg):
			errs = append(errs, bake.Invalid(field, "%q is not a name of a package", pkg))
		case pinned && !version.MatchString(pin):
			errs = append(errs, bake.Invalid(field, "%q is not a version", pin))
		case slices.Contains(p.Remove, pkg):
			errs = append(errs, bake.Invalid(field, "%s is in Remove, too", pkg))
		}
	}
	for i, pkg := range p.Remove {
		if !name.MatchString(pkg) || strings.HasPrefix(pkg, "/") {
			errs = append(errs, bake.Invalid(fmt.Sprintf("Packages.Remove[%d]", i), "%q is not a name of a package", pkg))
		}
	}
	for i, r := range p.Repositories {
		errs = append(errs, r.validate(fmt.Sprintf("Packages.Repositories[%d]", i)))
	}
	if p.Purge && len(p.Remove) == 0 {
		errs = append(errs, bake.Invalid("Packages.Purge", "is for Remove, which is empty"))
	}
	if p.LockTimeout < 0 {
		errs = append(errs, bake.Invalid("Packages.LockTimeout", "is negative"))
	}
	errs = append(errs, checkRetry("Packages.Retry", p.Retry))
	return errors.Join(errs...)
}

// DeclareInputs declares everything but the times to wait. Which versions the
// repositories have is not known before.
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

// Provision does it, and again while another process has the manager or a
// repository does not answer.
func (p Packages) Provision(ctx context.Context, m bake.Machine) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if p.LockTimeout == 0 {
		p.LockTimeout = defaultLockTimeout
	}
	if p.Retry.Attempts == 0 {
		p.Retry.Attempts = defaultPackageTries
	}
	if p.Retry.Delay == 0 {
		p.Retry.Delay = defaultPackagePause
	}
	script, err := p.script()
	if err != nil {
		return err
	}
	build := bake.RunFromContext(ctx)
	start := build.Clock.Now()
	for failures := 0; ; {
		err := onGuest(ctx, m, p.String(), script)
		exit, ok := errors.AsType[*bake.ExitError](err)
		if !ok {
			return err
		}
		wait := defaultPackagePause
		switch {
		case isLocked(exit):
			if waited := build.Clock.Now().Sub(start); waited >= p.LockTimeout {
				return fmt.Errorf("another process has kept the package manager for %v: %w", waited.Round(time.Second), err)
			}
		case isMissing(exit):
			return err
		default:
			if failures++; failures >= p.Retry.Attempts {
				return err
			}
			wait = p.Retry.Wait(failures)
			build.Say("%s: exit status %d, again in %v", p, exit.Status, wait)
		}
		if sleepErr := build.Clock.Sleep(ctx, wait); sleepErr != nil {
			return fmt.Errorf("%w: %w", sleepErr, err)
		}
	}
}

const (
	zypperLocked    = 7   // ZYPPER_EXIT_ZYPP_LOCKED of zypper(8)
	commandNotFound = 127 // of the shell, as POSIX has it
)

// isLocked reports whether another process was busy with packages.
func isLocked(exit *bake.ExitError) bool {
	return says(exit, "could not get lock", "unable to acquire the dpkg", "unable to lock", "is locked by", "system management is locked") ||
		exit.Status == zypperLocked && says(exit, "lock")
}

// isMissing reports whether there is no such package or command, whoever asks
// again.
func isMissing(exit *bake.ExitError) bool {
	return exit.Status == guestRefused || exit.Status == commandNotFound || says(exit, "unable to locate package", "has no installation candidate", "unable to find a match", "no match for argument",
		"no package matches", "not found in package names", "no provider of", "(no such package)") ||
		says(exit, "version '") && says(exit, "was not found")
}

// says reports whether any of the words is in the last lines of a command.
func says(exit *bake.ExitError, words ...string) bool {
	for _, line := range exit.Output {
		line = strings.ToLower(line)
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(line, word) }) {
			return true
		}
	}
	return false
}
