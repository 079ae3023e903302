package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"strings"
)

// transaction is a run of a package manager.
type transaction struct {
	p  *Process
	db packages
}

// packageCommand returns the implementation of a package manager's command, or nil
// if the distribution has another package manager.
func (h *Host) packageCommand(name string) Command {
	family := h.o.Facts.family()
	for other := range h.o.Commands { // a registered package manager replaces those of the distribution
		if f := packageFamily(other, family); f != "" && f != family {
			return nil
		}
	}
	if packageFamily(name, family) != family {
		return nil
	}
	switch name {
	case "apt-get", "apt":
		return aptGet
	case "apt-cache":
		return aptCache
	case "apt-mark":
		return aptMark
	case "dpkg-query":
		return dpkgQuery
	case "dpkg":
		return dpkg
	case "dnf", "yum":
		return dnf
	case "zypper":
		return zypper
	case "apk":
		return apk
	case "rpm":
		return rpm
	}
	return aptSetting
}

// packageFamily returns the family of a package manager's command, or "".
func packageFamily(name, current string) string {
	switch name {
	case "apt-get", "apt", "apt-cache", "apt-mark", "apt-key", "add-apt-repository", "debconf-set-selections", "dpkg-reconfigure", "dpkg-query", "dpkg":
		return familyDebian
	case "dnf", "yum":
		return familyRedHat
	case "zypper":
		return familySUSE
	case "apk":
		return familyAlpine
	case "rpm":
		if current == familySUSE {
			return familySUSE
		}
		return familyRedHat
	}
	return ""
}

// firstUse says once that packages are only recorded.
func (t transaction) firstUse(ctx context.Context) {
	t.p.Host.note(ctx, "packages", t.p.name()+" only records packages on this simulated machine; describe what they bring in Packages, or register a func for "+t.p.name()+" in Commands")
}

func aptGet(ctx context.Context, p *Process) int {
	o, words, bad := p.options("yqmfdsVuho:t:c:", "yes=y", "assume-yes=y", "assume-no=n", "quiet=q", "no-install-recommends=R", "install-recommends=R", "no-install-suggests=R",
		"install-suggests=R", "allow-downgrades=y", "allow-unauthenticated=y", "allow-change-held-packages=h", "allow-remove-essential=y", "allow-releaseinfo-change=y",
		"force-yes=y", "fix-broken=f", "fix-missing=m", "purge=P", "auto-remove=A", "autoremove=A", "reinstall=r", "no-upgrade=N", "only-upgrade=u", "download-only=d", "simulate=s", "dry-run=s",
		"option=o:", "target-release=t:", "default-release=t:", "config-file=c:", "installed=i", "upgradable=g", "no-remove=y", "ignore-hold=h", "trivial-only=y", "show-progress=q")
	switch {
	case bad != 0:
		return 100
	case len(words) == 0:
		return p.aptError("no operation given")
	}
	t := transaction{p, p.packages()}
	verb, names := words[0], words[1:]
	switch verb {
	case "list":
		return t.aptList(names)
	case "show", "search", "policy", "depends", "rdepends":
		return p.child(append([]string{"apt-cache"}, words...)).exec(ctx)
	case "download", "changelog", "source":
		return p.aptError(verb + " is not supported by this machine: register a func for " + p.name() + " in Commands")
	}
	if p.UID != 0 && !o.on("s") {
		fprintf(p.Stderr, "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\n")
		fprintf(p.Stderr, "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?\n")
		return 100
	}
	t.firstUse(ctx)
	if o.on("s") || o.on("d") {
		return 0
	}
	var err error
	var changed []installed
	removed := 0
	switch verb {
	case "update":
		err = errors.Join(t.db.disk.MkdirAll("/var/lib/apt/lists/partial", 0o755), t.db.disk.WriteFile("/var/lib/apt/lists/simulated_Packages", nil, 0o644))
		p.print("Reading package lists... Done\n")
	case "upgrade", "dist-upgrade", "full-upgrade":
		changed, err = t.db.upgrade(ctx, names)
	case "install", "build-dep", "reinstall":
		if verb == "build-dep" {
			names = nil
		}
		changed, err = t.install(ctx, names, aptSpec, o)
	case "remove", "purge", "autopurge":
		removed, err = t.remove(ctx, names)
	case "clean", "autoclean":
		err = t.aptClean()
	case "autoremove", "auto-remove", "check", "edit-sources", "dselect-upgrade":
	default:
		return p.aptError("Invalid operation " + verb)
	}
	if err != nil {
		return p.aptError(err.Error())
	}
	if verb != "update" && verb != "clean" {
		p.print("Reading package lists...\nBuilding dependency tree...\nReading state information...\n")
		for _, i := range changed {
			p.print("Setting up ", i.name, " (", i.version, ") ...\n")
		}
		fprintf(p.Stdout, "0 upgraded, %d newly installed, %d to remove and 0 not upgraded.\n", len(changed), removed)
	}
	return 0
}

func (p *Process) aptError(text string) int {
	fprintf(p.Stderr, "E: %s\n", text)
	return 100
}

// aptClean removes what was downloaded, as clean does.
func (t transaction) aptClean() error {
	const archives = "/var/cache/apt/archives"
	return errors.Join(t.db.disk.RemoveAll(archives), t.db.disk.MkdirAll(archives+"/partial", 0o755))
}

// missingError reports a package that no repository has.
type missingError struct{ name string }

func (e missingError) Error() string { return "Unable to locate package " + e.name }

// versionError reports a version that no repository has.
type versionError struct{ name, version string }

func (e versionError) Error() string {
	return "Version '" + e.version + "' for '" + e.name + "' was not found"
}

// aptSpec parses an operand of apt-get install.
func aptSpec(_ packages, spec string) (name, version string) {
	spec, _, _ = strings.Cut(spec, "/") // a release
	name, version, _ = strings.Cut(spec, "=")
	name, _, _ = strings.Cut(name, ":")
	return strings.TrimSuffix(name, "+"), version
}

// install installs all operands or none.
func (t transaction) install(ctx context.Context, specs []string, parse func(packages, string) (name, version string), o opts) ([]installed, error) {
	type wanted struct{ name, version string }
	var all []wanted
	for _, spec := range specs {
		if isPackageFile(spec) {
			if _, err := t.p.FS.Stat(t.p.Path(spec)); err != nil && !strings.Contains(spec, "://") {
				return nil, errors.New("Unsupported file " + spec + " given on commandline")
			}
			name, version := fileOf(spec)
			if version == "" {
				version, _ = t.db.resolve(name, "")
			}
			all = append(all, wanted{name, version})
			continue
		}
		name, want := parse(t.db, spec)
		if before, ok := t.db.get(name); ok && want == "" {
			pkg, known := t.p.Host.o.Packages[name]
			if newer := known && pkg.Version != "" && pkg.Version != before.version; !newer && !o.on("r") {
				continue
			}
		} else if o.on("u") && !ok {
			continue // only upgrade
		}
		version, ok := t.db.resolve(name, want)
		switch _, exists := t.db.available(name); {
		case !exists:
			return nil, missingError{name}
		case !ok:
			return nil, versionError{name, want}
		}
		all = append(all, wanted{name, version})
	}
	var changed []installed
	for _, w := range all {
		more, err := t.db.install(ctx, w.name, w.version)
		changed = append(changed, more...)
		if err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// remove removes the packages that are installed and returns their number.
func (t transaction) remove(ctx context.Context, patterns []string) (int, error) {
	n := 0
	for _, pattern := range patterns {
		matches := t.db.match(pattern)
		if len(matches) == 0 {
			if _, ok := t.db.available(pattern); !ok {
				return n, missingError{pattern}
			}
			t.p.print("Package '", pattern, "' is not installed, so not removed\n")
		}
		for _, i := range matches {
			if err := t.db.remove(ctx, i.name); err != nil {
				return n, err
			}
			n++
		}
	}
	return n, nil
}

func (t transaction) aptList(patterns []string) int {
	t.p.print("Listing...\n")
	for _, i := range t.db.all() {
		if matchesAny(patterns, i.name) {
			t.p.print(i.name, "/now ", i.version, " ", i.arch, " [installed]\n")
		}
	}
	return 0
}

// aptCache implements apt-cache for the packages that the machine knows.
func aptCache(_ context.Context, p *Process) int {
	_, words, bad := p.options("qno:", "quiet=q", "names-only=n", "option=o:", "no-all-versions=a")
	if bad != 0 || len(words) == 0 {
		return 100
	}
	db := p.packages()
	for _, name := range words[1:] {
		pkg, ok := db.available(name)
		before, have := db.get(name)
		switch {
		case words[0] == "policy" || words[0] == "madison":
			current := "(none)"
			if have {
				current = before.version
			}
			p.print(name, ":\n  Installed: ", current, "\n  Candidate: ", pkg.Version, "\n")
		case words[0] == "show" && ok:
			p.print("Package: ", name, "\nVersion: ", pkg.Version, "\nArchitecture: ", db.architecture(), "\n\n")
		case words[0] == "search" && ok:
			p.print(name, " - simulated package\n")
		case words[0] == "show" || words[0] == "search":
			return p.aptError("No packages found")
		default:
			return p.aptError(words[0] + " is not supported by this machine: register a func for apt-cache in Commands")
		}
	}
	return 0
}

// aptMark implements holds. Other marks have no effect.
func aptMark(_ context.Context, p *Process) int {
	if len(p.Args) < 2 {
		return p.aptError("no operation given")
	}
	db := p.packages()
	verb, names := p.Args[1], p.Args[2:]
	switch verb {
	case "showhold":
		for _, i := range db.all() {
			if i.held {
				p.print(i.name, "\n")
			}
		}
		return 0
	case "hold", "unhold":
		if p.UID != 0 {
			return p.aptError("Unable to write the state: Permission denied")
		}
		for _, name := range names {
			i, ok := db.get(name)
			if !ok {
				return p.aptError("Unable to locate package " + name)
			}
			i.held = verb == "hold"
			if err := db.put(i); err != nil {
				return p.aptError(errText(err))
			}
			p.print(name, map[bool]string{true: " set on hold.\n", false: " was already not on hold.\n"}[i.held])
		}
		return 0
	case "auto", "manual", "showmanual", "showauto", "minimize-manual":
		return 0
	}
	return p.aptError("Invalid operation " + verb)
}

// aptSetting implements commands that change settings of apt without an effect on
// the simulated packages. They read their input, as a pipe expects.
func aptSetting(ctx context.Context, p *Process) int {
	if p.UID != 0 {
		return p.fail(1, "must be run as root")
	}
	if p.name() == "debconf-set-selections" || len(p.Args) > 2 && p.Args[1] == "add" && p.Args[2] == "-" {
		if _, err := p.readAll(p.Stdin); err != nil {
			return p.fail(1, "%s", errText(err))
		}
	}
	if p.name() == "add-apt-repository" {
		name := strings.Trim(strings.Map(func(r rune) rune {
			if strings.ContainsRune(" /:[]=", r) {
				return '-'
			}
			return r
		}, p.Args[len(p.Args)-1]), "-")
		file := "/etc/apt/sources.list.d/" + name + ".list"
		if err := p.FS.WriteFile(file, []byte("# "+strings.Join(p.Args[1:], " ")+"\n"), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p.fail(1, "%s", errText(err))
		}
	}
	return recorded(ctx, p)
}
