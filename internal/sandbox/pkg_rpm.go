package sandbox

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// rpmSpec parses an operand of dnf install: a name, or a name and a version.
func rpmSpec(db packages, spec string) (name, version string) {
	if _, known := db.h.o.Packages[spec]; known || strings.HasPrefix(spec, "@") {
		return spec, ""
	}
	for _, arch := range []string{".noarch", ".x86_64", ".aarch64"} {
		spec = strings.TrimSuffix(spec, arch)
	}
	for i := range len(spec) - 1 {
		if rest := spec[i+1:]; spec[i] == '-' && (rest[0] >= '0' && rest[0] <= '9' || rest[0] == '*') && strings.ContainsAny(rest, ".*") {
			return spec[:i], rest
		}
	}
	return spec, ""
}

// dnf implements dnf and yum.
func dnf(ctx context.Context, p *Process) int {
	o, words, bad := p.options("yqvCbnd:e:x:c:", "assumeyes=y", "assumeno=n", "quiet=q", "verbose=v", "allowerasing=b", "best=b", "nobest=b", "skip-broken=b", "nogpgcheck=g", "no-gpgpgcheck=g", "refresh=r",
		"setopt=s:", "enablerepo=e:", "disablerepo=d:", "enablerepo=e:", "repo=e:", "repoid=e:", "releasever=R:", "exclude=x:", "excludepkgs=x:", "installed=i", "available=v", "security=S", "cacheonly=C",
		"add-repo=a:", "set-enabled=E", "set-disabled=D", "save=S", "disableexcludes=d:", "installroot=I:", "config=c:", "downloadonly=w", "noautoremove=b", "allowdowngrade=b", "nodocs=b", "showduplicates=u", "all=u", "from-repofile=a:")
	switch {
	case bad != 0:
		return 1
	case len(words) == 0:
		return p.fail(1, "You need to give some command")
	case o.on("I"):
		return p.fail(1, "--installroot is not supported by this machine: register a func for %s in Commands", p.name())
	}
	t := transaction{p, p.packages()}
	verb, names := words[0], words[1:]
	if len(names) > 0 && (verb == "group" || verb == "groups") {
		verb, names = verb+names[0], names[1:]
	}
	switch verb {
	case "list":
		return t.dnfList(names)
	case "info", "search", "provides", "whatprovides", "repoquery":
		return t.dnfInfo(names)
	case "check-update", "repolist", "history", "help", "grouplist", "updateinfo", "version":
		return 0
	case "download", "builddep", "shell", "mark":
		return p.fail(1, "%s is not supported by this machine: register a func for %s in Commands", verb, p.name())
	}
	if p.UID != 0 {
		return p.fail(1, "Error: This command has to be run with superuser privileges (under the root user on most systems).")
	}
	t.firstUse(ctx)
	if !o.on("y") && dnfAsks(verb) {
		answer, complete := readLine(p.Stdin, true)
		p.print("Is this ok [y/N]: ")
		if answer = strings.ToLower(strings.TrimSpace(answer)); !complete || answer != "y" && answer != "yes" {
			return p.fail(1, "Operation aborted.")
		}
	}
	changed, removed, err := t.dnfDo(ctx, verb, names, o)
	if missing, ok := errors.AsType[missingError](err); ok {
		fprintf(p.Stderr, "No match for argument: %s\nError: Unable to find a match: %[1]s\n", missing.name)
		return 1
	}
	if missing, ok := errors.AsType[versionError](err); ok {
		fprintf(p.Stderr, "No match for argument: %s-%s\nError: Unable to find a match: %[1]s-%[2]s\n", missing.name, missing.version)
		return 1
	}
	if err != nil {
		return p.fail(1, "Error: %s", err)
	}
	if len(changed)+removed == 0 && dnfAsks(verb) {
		p.print("Nothing to do.\n")
	}
	for _, i := range changed {
		p.print("Installed: ", i.name, "-", i.version, ".", i.arch, "\n")
	}
	p.print("Complete!\n")
	return 0
}

// dnfAsks reports whether a command asks before it changes packages.
func dnfAsks(verb string) bool {
	switch verb {
	case "install", "localinstall", "reinstall", "remove", "erase", "upgrade", "update", "upgrade-minimal", "distro-sync", "downgrade", "swap", "groupinstall", "group", "autoremove":
		return true
	}
	return false
}

func (t transaction) dnfDo(ctx context.Context, verb string, names []string, o opts) (changed []installed, removed int, err error) {
	switch verb {
	case "install", "localinstall", "reinstall", "downgrade", "groupinstall":
		if verb == "groupinstall" {
			for i, name := range names {
				names[i] = "@" + strings.ReplaceAll(name, " ", "-")
			}
		}
		changed, err = t.install(ctx, names, rpmSpec, o)
	case "remove", "erase", "autoremove":
		removed, err = t.remove(ctx, names)
	case "swap":
		if len(names) != 2 {
			return nil, 0, errors.New("swap needs two packages")
		}
		if removed, err = t.remove(ctx, names[:1]); err == nil {
			changed, err = t.install(ctx, names[1:], rpmSpec, o)
		}
	case "upgrade", "update", "upgrade-minimal", "distro-sync":
		changed, err = t.db.upgrade(ctx, names)
	case "config-manager":
		if repo, ok := o.value("a"); ok {
			name := strings.TrimSuffix(repo[strings.LastIndexByte(repo, '/')+1:], ".repo")
			err = errors.Join(t.db.disk.MkdirAll("/etc/yum.repos.d", 0o755), t.db.disk.WriteFile("/etc/yum.repos.d/"+name+".repo", []byte("# "+repo+"\n"), 0o644))
		}
	case "clean":
		err = t.db.disk.RemoveAll("/var/cache/" + t.p.name())
	case "makecache":
		err = t.db.disk.MkdirAll("/var/cache/"+t.p.name(), 0o755)
	case "module", "versionlock", "copr", "check", "groupmark", "groupsmark":
	default:
		err = errors.New("No such command: " + verb)
	}
	return changed, removed, err
}

func (t transaction) dnfList(words []string) int {
	if len(words) > 0 {
		switch words[0] {
		case "installed", "--installed", "all", "updates", "available":
			words = words[1:]
		}
	}
	found := 1
	for _, i := range t.db.all() {
		if matchesAny(words, i.name) {
			if found == 1 {
				t.p.print("Installed Packages\n")
			}
			found = 0
			t.p.print(i.name, ".", i.arch, "  ", i.version, "  @System\n")
		}
	}
	if found == 1 && len(words) > 0 {
		fprintf(t.p.Stderr, "Error: No matching Packages to list\n")
	}
	return found
}

func (t transaction) dnfInfo(names []string) int {
	for _, name := range names {
		pkg, ok := t.db.available(name)
		if !ok {
			fprintf(t.p.Stderr, "Error: No matching Packages to list\n")
			return 1
		}
		t.p.print("Name         : ", name, "\nVersion      : ", pkg.Version, "\nArchitecture : ", t.db.architecture(), "\n")
	}
	return 0
}

// rpm implements queries, installing and removing.
func rpm(ctx context.Context, p *Process) int {
	for _, arg := range p.Args[1:] {
		switch arg {
		case "--import":
			return rootOnly(ctx, p)
		case "-E", "--eval":
			text := p.Args[len(p.Args)-1]
			major, _, _ := strings.Cut(p.Host.o.Facts.Version, ".")
			p.print(strings.NewReplacer("%{rhel}", major, "%rhel", major, "%{?rhel}", major, "%{fedora}", major, "%fedora", major, "%{_arch}", p.Host.o.Facts.Arch, "%{dist}", ".el"+major).Replace(text), "\n")
			return 0
		}
	}
	o, names, bad := p.options("qaiUeVvhlfFc", "query=q", "all=a", "install=i", "upgrade=U", "erase=e", "verify=V", "queryformat=Q:", "qf=Q:", "quiet=s", "force=O", "nodeps=O", "replacepkgs=O", "list=l", "file=f", "info=i", "hash=h", "last=L", "nosignature=O")
	if bad != 0 {
		return bad
	}
	t := transaction{p, p.packages()}
	switch {
	case o.on("q") || o.on("V"):
		return t.rpmQuery(names, o)
	case p.UID != 0:
		return p.fail(1, "error: can't create transaction lock on /var/lib/rpm/.rpm.lock (Permission denied)")
	}
	t.firstUse(ctx)
	var err error
	switch {
	case o.on("e"):
		for _, name := range names {
			if _, ok := t.db.get(name); !ok {
				fprintf(p.Stderr, "error: package %s is not installed\n", name)
				return 1
			}
		}
		_, err = t.remove(ctx, names)
	case o.on("i"), o.on("U"), o.on("F"):
		for i, name := range names {
			if !strings.Contains(name, "://") {
				names[i] = p.Path(name)
			}
		}
		_, err = t.install(ctx, names, rpmSpec, o)
	default:
		return p.fail(1, "only one major mode may be specified")
	}
	if err != nil {
		return p.fail(1, "error: %s", err)
	}
	return 0
}

func (t transaction) rpmQuery(names []string, o opts) int {
	format, ok := o.value("Q")
	if !ok {
		format = `%{NEVRA}\n`
	}
	show := func(i installed) {
		text, unknown := i.format(format)
		switch {
		case o.on("s"), o.on("V"):
		case unknown != "":
			fprintf(t.p.Stderr, "error: incorrect format: unknown tag: %s\n", quote(unknown))
		case o.on("l"):
			for _, file := range t.db.files(i.name) {
				t.p.print(file, "\n")
			}
		case o.on("i"):
			text, _ = i.format(`Name        : %{NAME}\nVersion     : %{VERSION}\nRelease     : %{RELEASE}\nArchitecture: %{ARCH}\n`)
			t.p.print(text)
		default:
			t.p.print(text)
		}
	}
	if o.on("a") {
		for _, i := range t.db.all() {
			if matchesAny(names, i.name) {
				show(i)
			}
		}
		return 0
	}
	missing := 0
	for _, name := range names {
		if o.on("f") {
			owner, ok := first(t.db.all(), func(i installed) bool {
				return slices.Contains(t.db.files(i.name), name)
			})
			if !ok {
				t.p.print("file ", name, " is not owned by any package\n")
				missing++
				continue
			}
			show(owner)
			continue
		}
		i, ok := t.db.get(name)
		if !ok {
			missing++
			if !o.on("s") {
				t.p.print("package ", name, " is not installed\n")
			}
			continue
		}
		show(i)
	}
	return missing
}
