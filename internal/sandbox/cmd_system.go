package sandbox

import (
	"context"
	"slices"
	"strings"
)

func id(_ context.Context, p *Process) int {
	o, names, bad := p.options("ugGnr", "user=u", "group=g", "groups=G", "name=n", "real=r")
	if bad != 0 {
		return bad
	}
	u, ok := lookupUID(p.FS, p.UID)
	if !ok {
		u = user{name: itoa(p.UID), uid: p.UID, gid: p.GID}
	}
	cred := p.FS.Cred()
	if len(names) > 0 {
		if u, ok = lookupUser(p.FS, names[0]); !ok {
			return p.fail(1, "%s: no such user", quote(names[0]))
		}
		cred = u.cred(p.FS)
	}
	gids := append([]int{u.gid}, cred.Groups...)
	named := func(gid int) string {
		if o.on("n") {
			return groupName(p.FS, gid)
		}
		return itoa(gid)
	}
	switch o.last("ugG") {
	case "u":
		if o.on("n") {
			p.print(u.name, "\n")
		} else {
			p.print(itoa(u.uid), "\n")
		}
	case "g":
		p.print(named(u.gid), "\n")
	case "G":
		all := make([]string, len(gids))
		for i, gid := range gids {
			all[i] = named(gid)
		}
		p.print(strings.Join(all, " "), "\n")
	default:
		all := make([]string, len(gids))
		for i, gid := range gids {
			all[i] = itoa(gid) + "(" + groupName(p.FS, gid) + ")"
		}
		fprintf(p.Stdout, "uid=%d(%s) gid=%d(%s) groups=%s\n", u.uid, u.name, u.gid, groupName(p.FS, u.gid), strings.Join(all, ","))
	}
	return 0
}

func whoami(_ context.Context, p *Process) int {
	p.print(userName(p.FS, p.UID), "\n")
	return 0
}

func hostname(_ context.Context, p *Process) int {
	o, names, bad := p.options("sfIi", "short=s", "fqdn=f", "long=f", "all-ip-addresses=I")
	if bad != 0 {
		return bad
	}
	switch {
	case o.on("I") || o.on("i"):
		p.print("127.0.0.1\n")
	case len(names) > 0 && p.UID != 0:
		return p.fail(1, "you must be root to change the host name")
	case len(names) > 0:
		p.Host.setHostname(names[0])
	default:
		name := p.Host.hostname()
		if o.on("s") {
			name, _, _ = strings.Cut(name, ".")
		}
		p.print(name, "\n")
	}
	return 0
}

func tty(_ context.Context, p *Process) int {
	silent := len(p.Args) > 1 && (p.Args[1] == "-s" || p.Args[1] == "--silent")
	if !p.tty {
		if !silent {
			p.print("not a tty\n")
		}
		return 1
	}
	if silent {
		return 0
	}
	p.print("/dev/pts/0\n")
	return 0
}

func uname(_ context.Context, p *Process) int {
	o, _, bad := p.options("asnrvmpio", "all=a", "kernel-name=s", "nodename=n", "kernel-release=r", "kernel-version=v", "machine=m",
		"processor=p", "hardware-platform=i", "operating-system=o")
	if bad != 0 {
		return bad
	}
	f := p.Host.o.Facts
	var out []string
	for _, part := range []struct{ flag, text string }{
		{"s", "Linux"},
		{"n", p.Host.hostname()},
		{"r", f.Kernel},
		{"v", "#1 SMP"},
		{"m", f.Arch},
		{"p", f.Arch},
		{"i", f.Arch},
		{"o", "GNU/Linux"},
	} {
		if o.on("a") || o.on(part.flag) || len(o.given) == 0 && part.flag == "s" {
			out = append(out, part.text)
		}
	}
	p.print(strings.Join(out, " "), "\n")
	return 0
}

func arch(_ context.Context, p *Process) int {
	p.print(p.Host.o.Facts.Arch, "\n")
	return 0
}

const processors = "2"

func nproc(_ context.Context, p *Process) int {
	_, _, bad := p.options("", "all=a", "ignore=i:")
	p.print(processors, "\n")
	return bad
}

func getconf(_ context.Context, p *Process) int {
	values := map[string]string{
		"_NPROCESSORS_ONLN": processors, "_NPROCESSORS_CONF": processors, "PAGE_SIZE": "4096", "PAGESIZE": "4096",
		"ARG_MAX": "2097152", "LONG_BIT": "64", "PATH": "/bin:/usr/bin", "CLK_TCK": "100", "NAME_MAX": "255", "PATH_MAX": "4096",
	}
	if len(p.Args) < 2 {
		return p.fail(2, "usage: getconf variable")
	}
	value, ok := values[p.Args[1]]
	if !ok {
		return p.fail(2, "unrecognized variable %s", quote(p.Args[1]))
	}
	p.print(value, "\n")
	return 0
}

func date(_ context.Context, p *Process) int {
	for i, arg := range p.Args { // the precision is optional and attached
		if precision, ok := strings.CutPrefix(strings.Replace(arg, "--iso-8601=", "-I", 1), "-I"); ok && i > 0 {
			p.Args[i] = "--iso-8601=" + precision
		} else if arg == "--iso-8601" {
			p.Args[i] += "="
		}
	}
	o, rest, bad := p.options("ud:r:R", "utc=u", "universal=u", "date=d:", "iso-8601=I:", "reference=r:", "rfc-email=R", "rfc-3339=3:")
	if bad != 0 {
		return bad
	}
	when := p.Host.o.Clock.Now()
	if text, ok := o.value("d"); ok {
		at, err := parseDate(text, when)
		if err != nil {
			return p.fail(1, "invalid date %s", p.quote(text))
		}
		when = at
	}
	if file, ok := o.value("r"); ok {
		info, err := p.FS.Stat(p.Path(file))
		if err != nil {
			return p.fail(1, "%s: %s", file, errText(err))
		}
		when = info.ModTime()
	}
	when = p.local(when, o.on("u"))
	format := "%a %b %e %H:%M:%S %Z %Y"
	switch {
	case o.on("I"):
		precision, _ := o.value("I")
		switch {
		case precision == "" || strings.HasPrefix("date", precision):
			format = "%F"
		case strings.HasPrefix("seconds", precision):
			format = "%FT%T%:z"
		case strings.HasPrefix("minutes", precision):
			format = "%FT%R%:z"
		case strings.HasPrefix("hours", precision):
			format = "%FT%H%:z"
		default:
			format = "%FT%T,%N%:z"
		}
	case o.on("3"):
		precision, _ := o.value("3")
		format = map[string]string{"date": "%F", "seconds": "%F %T%:z", "ns": "%F %T.%N%:z"}[precision]
		if format == "" {
			return p.fail(1, "invalid argument %s for '--rfc-3339'", quote(precision))
		}
	case o.on("R"):
		format = "%a, %d %b %Y %T %z"
	case len(rest) > 0 && strings.HasPrefix(rest[0], "+"):
		format = rest[0][1:]
	case len(rest) > 0:
		return p.fail(2, "setting the date is not supported by this machine")
	}
	text, err := strftime(format, when)
	if err != nil {
		return p.fail(2, "%v", err)
	}
	p.print(text, "\n")
	return 0
}

func getent(_ context.Context, p *Process) int {
	if len(p.Args) < 2 || !slices.Contains([]string{"passwd", "group", "hosts"}, p.Args[1]) {
		return p.fail(1, "only the databases passwd, group and hosts are supported by this machine")
	}
	keys := p.Args[2:]
	var all [][]string
	switch p.Args[1] {
	case "passwd":
		for _, u := range users(asRoot(p.FS)) {
			all = append(all, []string{u.line(), u.name, itoa(u.uid)})
		}
	case "group":
		for _, g := range groups(asRoot(p.FS)) {
			all = append(all, []string{g.line(), g.name, itoa(g.gid)})
		}
	default:
		data, _ := p.FS.ReadFile("/etc/hosts") // a missing file has no hosts
		for line := range strings.Lines(string(data)) {
			all = append(all, append([]string{strings.TrimSpace(line)}, strings.Fields(line)...))
		}
	}
	if len(keys) == 0 {
		for _, record := range all {
			p.print(record[0], "\n")
		}
		return 0
	}
	status := 0
	for _, key := range keys {
		record, ok := first(all, func(r []string) bool { return slices.Contains(r[1:], key) })
		if !ok {
			status = 2
			continue
		}
		p.print(record[0], "\n")
	}
	return status
}
