package sandbox

import (
	"context"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// matchesAny reports whether a name matches one of the patterns, or there are none.
func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return len(patterns) == 0
}

// field matches a field of a format of dpkg-query or rpm.
var field = regexp.MustCompile(`\$\{([A-Za-z:-]+)(?:;(-?[0-9]+))?\}|%(-?[0-9]*)\{([A-Za-z_]+)\}`)

// format replaces the fields and escapes of a format.
func (i installed) format(format string) (text, unknown string) {
	text = field.ReplaceAllStringFunc(format, func(match string) string {
		parts := field.FindStringSubmatch(match)
		name, width := parts[1]+parts[4], parts[2]+parts[3]
		value, ok := i.field(name)
		if !ok {
			unknown = name
		}
		if n, err := strconv.Atoi(width); err == nil && n != 0 && n < 1000 && n > -1000 {
			if n < 0 != (parts[2] != "") { // negative widths of rpm and positive ones of dpkg align left
				return value + strings.Repeat(" ", max(0, max(n, -n)-len(value)))
			}
			return strings.Repeat(" ", max(0, max(n, -n)-len(value))) + value
		}
		return value
	})
	return strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`).Replace(text), unknown
}

func (i installed) field(name string) (string, bool) {
	want := "install"
	if i.held {
		want = "hold"
	}
	version, release, _ := strings.Cut(i.version, "-")
	switch strings.ToLower(name) {
	case "package", "name", "binary:package", "source:package":
		return i.name, true
	case "version":
		if name == "VERSION" {
			return version, true
		}
		return i.version, true
	case "release":
		return release, true
	case "arch", "architecture":
		return i.arch, true
	case "status":
		return want + " ok installed", true
	case "db:status-status":
		return "installed", true
	case "db:status-want":
		return want, true
	case "db:status-abbrev":
		return want[:1] + "i ", true
	case "nevra":
		return i.name + "-" + i.version + "." + i.arch, true
	case "epoch":
		return "(none)", true
	case "installed-size", "size":
		return "100", true
	case "maintainer", "vendor", "summary", "description", "binary:summary", "section", "priority":
		return "simulated", true
	}
	return "", false
}

// dpkgQuery answers questions about installed packages.
func dpkgQuery(_ context.Context, p *Process) int {
	o, names, bad := p.options("Wlsf:LSp", "show=W", "list=l", "status=s", "showformat=f:", "listfiles=L", "search=S", "no-pager=n", "print-avail=p", "admindir=a:")
	if bad != 0 {
		return bad
	}
	db := p.packages()
	status := 0
	each := func(do func(installed)) {
		for _, pattern := range append(names, map[bool]string{true: "*"}[len(names) == 0]) {
			matches := db.match(pattern)
			if len(matches) == 0 && pattern != "" {
				status = 1
				if o.on("s") || o.on("L") {
					fprintf(p.Stderr, "dpkg-query: package '%s' is not installed\n", pattern)
				} else {
					fprintf(p.Stderr, "dpkg-query: no packages found matching %s\n", pattern)
				}
			}
			for _, i := range matches {
				do(i)
			}
		}
	}
	switch o.last("WlsLSp") {
	case "W":
		format, ok := o.value("f")
		if !ok {
			format = `${binary:Package}\t${Version}\n`
		}
		each(func(i installed) {
			text, unknown := i.format(format)
			if unknown != "" {
				status = p.fail(2, "the field %s is not supported by this machine", unknown)
			}
			p.print(text)
		})
	case "l":
		p.print("Desired=Unknown/Install/Remove/Purge/Hold\n| Status=Not/Inst/Conf-files/Unpacked/halF-conf/Half-inst/trig-aWait/Trig-pend\n" +
			"|/ Err?=(none)/Reinst-required (Status,Err: uppercase=bad)\n||/ Name           Version      Architecture Description\n" +
			"+++-==============-============-============-=================================\n")
		each(func(i installed) {
			text, _ := i.format(`${db:Status-Abbrev} ${Package;14} ${Version;12} ${Architecture;12} simulated\n`)
			p.print(text)
		})
	case "s", "p":
		each(func(i installed) {
			text, _ := i.format(`Package: ${Package}\nStatus: ${Status}\nArchitecture: ${Architecture}\nVersion: ${Version}\n\n`)
			p.print(text)
		})
	case "L":
		each(func(i installed) {
			for _, file := range db.files(i.name) {
				p.print(file, "\n")
			}
		})
	case "S":
		return p.dpkgSearch(db, names)
	default:
		return p.fail(2, "need an action option")
	}
	return status
}

// dpkgSearch prints the packages that own files.
func (p *Process) dpkgSearch(db packages, names []string) int {
	status := 0
	for _, name := range names {
		found := false
		for _, i := range db.all() {
			for _, file := range db.files(i.name) {
				if file == name || !strings.HasPrefix(name, "/") && strings.Contains(file, name) {
					found = true
					p.print(i.name, ": ", file, "\n")
				}
			}
		}
		if !found {
			status = p.fail(1, "no path found matching pattern %s", name)
		}
	}
	return status
}

// dpkg installs package files and removes packages, and passes questions on to
// dpkg-query.
func dpkg(ctx context.Context, p *Process) int {
	if len(p.Args) < 2 {
		return p.fail(2, "need an action option")
	}
	t := transaction{p, p.packages()}
	action, _, _ := strings.Cut(p.Args[1], "=")
	switch action {
	case "--print-architecture":
		p.print(p.Host.o.Facts.debianArch(), "\n")
		return 0
	case "--print-foreign-architectures":
		return 0
	case "-l", "--list", "-s", "--status", "-L", "--listfiles", "-S", "--search", "-W", "--show", "-p":
		return p.child(append([]string{"dpkg-query"}, p.Args[1:]...)).exec(ctx)
	case "--get-selections":
		for _, i := range t.db.all() {
			p.print(i.name, "\t", map[bool]string{true: "hold", false: "install"}[i.held], "\n")
		}
		return 0
	case "--compare-versions":
		return p.compareVersions()
	case "--configure", "--add-architecture", "--set-selections", "--clear-selections":
		if action == "--set-selections" {
			if _, err := p.readAll(p.Stdin); err != nil {
				return p.fail(1, "%s", errText(err))
			}
		}
		return rootOnly(ctx, p)
	}
	o, names, bad := p.options("irPE", "install=i", "remove=r", "purge=P", "force-all=f", "force-confold=f", "force-confdef=f", "force-confnew=f", "force-depends=f", "skip-same-version=E", "unpack=i", "recursive=R")
	if bad != 0 {
		return bad
	}
	if p.UID != 0 {
		return p.fail(2, "error: requested operation requires superuser privilege")
	}
	t.firstUse(ctx)
	var err error
	switch o.last("irP") {
	case "i":
		for i, name := range names {
			names[i] = p.Path(name)
		}
		_, err = t.install(ctx, names, aptSpec, o)
	case "r", "P":
		_, err = t.remove(ctx, names)
	default:
		return p.fail(2, "%s is not supported by this machine", quote(p.Args[1]))
	}
	if err != nil {
		return p.fail(1, "error: %s", err)
	}
	return 0
}

// compareVersions implements dpkg --compare-versions for versions of numbers, dots
// and letters.
func (p *Process) compareVersions() int {
	if len(p.Args) != 5 {
		return p.fail(2, "--compare-versions takes three arguments: <version> <relation> <version>")
	}
	c := compareVersions(p.Args[2], p.Args[4])
	holds, ok := map[string]bool{
		"lt": c < 0, "le": c <= 0, "eq": c == 0, "ne": c != 0, "ge": c >= 0, "gt": c > 0,
		"<<": c < 0, "<=": c <= 0, "=": c == 0, ">=": c >= 0, ">>": c > 0,
	}[p.Args[3]]
	switch {
	case !ok:
		return p.fail(2, "--compare-versions bad relation")
	case !holds:
		return 1
	}
	return 0
}

// compareVersions compares versions like dpkg: digits by value, a tilde before
// anything else.
func compareVersions(a, b string) int {
	order := func(s string) int {
		switch {
		case s == "" || s[0] >= '0' && s[0] <= '9':
			return 0
		case s[0] == '~':
			return -1
		case s[0] >= 'A' && s[0] <= 'Z', s[0] >= 'a' && s[0] <= 'z':
			return int(s[0])
		}
		return int(s[0]) + 256
	}
	digits := func(s string) (number, rest string) {
		n := len(s) - len(strings.TrimLeft(s, "0123456789"))
		return strings.TrimLeft(s[:n], "0"), s[n:]
	}
	for a != "" || b != "" {
		for order(a) != 0 || order(b) != 0 {
			if c := order(a) - order(b); c != 0 {
				return c
			}
			a, b = a[1:], b[1:]
		}
		var x, y string
		x, a = digits(a)
		y, b = digits(b)
		if c := len(x) - len(y); c != 0 {
			return c
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}
