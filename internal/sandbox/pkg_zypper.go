package sandbox

import (
	"context"
	"errors"
	"strings"
)

const zypperMissing = 104 // ZYPPER_EXIT_INF_CAP_NOT_FOUND

// equalsSpec parses an operand of zypper install, which may have the form NAME=VERSION.
func equalsSpec(_ packages, spec string) (name, version string) {
	name, version, _ = strings.Cut(spec, "=")
	return name, version
}

// zypper implements SUSE's package manager.
func zypper(ctx context.Context, p *Process) int {
	o, words, bad := p.options("nqyftlcr:", "non-interactive=n", "quiet=q", "no-gpg-checks=g", "gpg-auto-import-keys=g", "auto-agree-with-licenses=l", "no-recommends=R", "recommends=R", "oldpackage=O", "force=f", "all=a",
		"no-confirm=y", "replacefiles=O", "allow-unsigned-rpm=g", "type=t:", "installed-only=i", "repo=r:", "force-resolution=O", "clean-deps=u", "refresh=f", "details=d", "match-exact=x")
	switch {
	case bad != 0:
		return 2
	case len(words) == 0:
		return p.fail(1, "No command provided.")
	}
	t := transaction{p, p.packages()}
	verb, names := words[0], words[1:]
	switch verb {
	case "search", "se", "info", "if":
		return t.dnfInfo(names)
	case "packages", "pa":
		for _, i := range t.db.all() {
			p.print("i | ", i.name, " | ", i.version, " | ", i.arch, "\n")
		}
		return 0
	case "repos", "lr", "list-updates", "lu":
		return 0
	}
	if p.UID != 0 {
		return p.fail(5, "Root privileges are required to run this command.")
	}
	t.firstUse(ctx)
	var err error
	switch verb {
	case "install", "in":
		_, err = t.install(ctx, names, equalsSpec, o)
	case "remove", "rm":
		_, err = t.remove(ctx, names)
	case "update", "up", "dist-upgrade", "dup", "patch":
		_, err = t.db.upgrade(ctx, names)
	case "refresh", "ref", "clean", "cc", "addlock", "al", "modifyrepo", "mr", "removerepo", "rr":
	case "addrepo", "ar":
		if len(names) == 0 {
			return p.fail(2, "Required argument missing.")
		}
		name := strings.TrimSuffix(names[len(names)-1][strings.LastIndexByte(names[len(names)-1], '/')+1:], ".repo")
		err = errors.Join(t.db.disk.MkdirAll("/etc/zypp/repos.d", 0o755), t.db.disk.WriteFile("/etc/zypp/repos.d/"+name+".repo", []byte("# "+names[0]+"\n"), 0o644))
	default:
		return p.fail(1, "Unknown command %s", quote(verb))
	}
	if missing, ok := errors.AsType[missingError](err); ok {
		fprintf(p.Stderr, "Package '%s' not found.\nNo provider of '%[1]s' found.\n", missing.name)
		return zypperMissing
	}
	if missing, ok := errors.AsType[versionError](err); ok {
		fprintf(p.Stderr, "No provider of '%s = %s' found.\n", missing.name, missing.version)
		return zypperMissing
	}
	if err != nil {
		return p.fail(4, "%s", err)
	}
	return 0
}

// apkSpec parses an operand of apk add: NAME, NAME=VERSION or NAME~VERSION.
func apkSpec(_ packages, spec string) (name, version string) {
	name, _, _ = strings.Cut(spec, "@") // a repository
	if name, version, ok := strings.Cut(name, "~"); ok {
		return name, strings.TrimPrefix(version, "=") + "*"
	}
	for _, operator := range []string{">=", "<=", ">", "<"} {
		if name, _, ok := strings.Cut(name, operator); ok {
			return name, ""
		}
	}
	name, version, _ = strings.Cut(name, "=")
	return name, version
}

// apk implements Alpine's package manager.
func apk(ctx context.Context, p *Process) int {
	o, words, bad := p.options("Uqvet:X:Lwdup:s", "update-cache=U", "update=U", "quiet=q", "verbose=v", "no-cache=n", "installed=e", "virtual=t:", "repository=X:", "wait=W:", "upgrade=u", "latest=l", "available=a", "purge=P",
		"force=f", "allow-untrusted=f", "contents=L", "no-scripts=f", "simulate=s", "repositories-file=X:", "no-progress=q", "no-network=f", "root=p:", "size=Z")
	switch {
	case bad != 0:
		return 1
	case len(words) == 0:
		return p.fail(1, "no command given")
	case o.on("p"):
		return p.fail(1, "--root is not supported by this machine: register a func for apk in Commands")
	}
	t := transaction{p, p.packages()}
	verb, names := words[0], words[1:]
	switch verb {
	case "info", "list":
		return t.apkInfo(names, o)
	case "version":
		return 0
	case "search", "policy":
		return t.dnfInfo(names)
	}
	if p.UID != 0 {
		fprintf(p.Stderr, "ERROR: Unable to lock database: Permission denied\nERROR: Failed to open apk database: Permission denied\n")
		return 99
	}
	t.firstUse(ctx)
	var err error
	var changed []installed
	switch verb {
	case "add":
		changed, err = t.install(ctx, names, apkSpec, o)
	case "del":
		_, err = t.remove(ctx, names)
	case "update", "cache", "fix", "stats", "verify":
	case "upgrade":
		changed, err = t.db.upgrade(ctx, names)
	default:
		return p.fail(1, "%s is not an apk command", quote(verb))
	}
	if missing, ok := errors.AsType[missingError](err); ok {
		fprintf(p.Stderr, "ERROR: unable to select packages:\n  %s (no such package):\n    required by: world[%[1]s]\n", missing.name)
		return 1
	}
	if missing, ok := errors.AsType[versionError](err); ok {
		fprintf(p.Stderr, "ERROR: unable to select packages:\n  %s-%s:\n    breaks: world[%[1]s=%[2]s]\n", missing.name, missing.version)
		return 1
	}
	if err != nil {
		return p.fail(1, "ERROR: %s", err)
	}
	for n, i := range changed {
		p.print("(", itoa(n+1), "/", itoa(len(changed)), ") Installing ", i.name, " (", i.version, ")\n")
	}
	p.print("OK: ", itoa(len(t.db.all())), " packages\n")
	return 0
}

func (t transaction) apkInfo(names []string, o opts) int {
	status := 0
	for _, name := range names {
		i, ok := t.db.get(name)
		switch {
		case !ok:
			status = 1
		case o.on("L"):
			for _, file := range t.db.files(name) {
				t.p.print(file, "\n")
			}
		default:
			t.p.print(i.name, "\n")
		}
	}
	if len(names) > 0 {
		return status
	}
	for _, i := range t.db.all() {
		if o.on("v") {
			t.p.print(i.name, "-", i.version, "\n")
		} else {
			t.p.print(i.name, "\n")
		}
	}
	return 0
}
