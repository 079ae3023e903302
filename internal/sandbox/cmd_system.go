package sandbox

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
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
	o, rest, bad := p.options("ud:r:R", "utc=u", "universal=u", "date=d:", "iso-8601=I:", "reference=r:", "rfc-email=R")
	if bad != 0 {
		return bad
	}
	when := p.Host.o.Clock.Now()
	if text, ok := o.value("d"); ok {
		at, err := parseDate(text, when)
		if err != nil {
			return p.fail(1, "invalid date %s", quote(text))
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
	when = when.UTC() // the machine's time zone
	format := "%a %b %e %H:%M:%S UTC %Y"
	switch {
	case o.on("I"):
		precision, _ := o.value("I")
		switch {
		case precision == "" || strings.HasPrefix("date", precision):
			format = "%F"
		case strings.HasPrefix("seconds", precision):
			format = "%FT%T+00:00"
		case strings.HasPrefix("minutes", precision):
			format = "%FT%R+00:00"
		case strings.HasPrefix("hours", precision):
			format = "%FT%H+00:00"
		default:
			format = "%FT%T,%N+00:00"
		}
	case o.on("R"):
		format = "%a, %d %b %Y %T +0000"
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

func strftime(format string, t time.Time) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		if format[i] == '-' && i+1 < len(format) { // no padding, as in %-d
			i++
			text, err := strftime("%"+format[i:i+1], t)
			if err != nil {
				return "", err
			}
			b.WriteString(strings.TrimLeft(text, "0 "))
			continue
		}
		switch c := format[i]; c {
		case 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case 'N':
			b.WriteString(t.Format(".000000000")[1:])
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '%':
			b.WriteByte('%')
		case 'j':
			b.WriteString(t.Format("002"))
		case 'u', 'w':
			day := int(t.Weekday())
			if c == 'u' && day == 0 {
				day = 7
			}
			b.WriteString(itoa(day))
		default:
			layout, ok := map[byte]string{
				'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'F': "2006-01-02",
				'T': "15:04:05", 'D': "01/02/06", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'h': "Jan", 'e': "_2",
				'p': "PM", 'Z': "MST", 'z': "-0700", 'R': "15:04", 'c': "Mon Jan _2 15:04:05 2006",
			}[c]
			if !ok {
				return "", errors.New("format %" + string(c) + " is not supported by this machine")
			}
			b.WriteString(t.Format(layout))
		}
	}
	return b.String(), nil
}

var relative = regexp.MustCompile(`^(.*?)\s*([+-]?)\s*([0-9]+)\s+(sec|second|min|minute|hour|day|week|month|year)s?(\s+ago)?$`)

// relativeDate parses a date followed by a distance, as in "2024-01-15 + 2 days".
func relativeDate(text string, now time.Time) (time.Time, bool, error) {
	m := relative.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false, nil
	}
	at := now
	if m[1] != "" {
		var err error
		if at, err = parseDate(m[1], now); err != nil {
			return at, true, err
		}
	}
	n, err := strconv.Atoi(m[3])
	if (m[2] == "-") != (m[5] != "") {
		n = -n
	}
	switch m[4] {
	case "day":
		at = at.AddDate(0, 0, n)
	case "week":
		at = at.AddDate(0, 0, 7*n)
	case "month":
		at = at.AddDate(0, n, 0)
	case "year":
		at = at.AddDate(n, 0, 0)
	default:
		unit := map[string]time.Duration{"sec": time.Second, "second": time.Second, "min": time.Minute, "minute": time.Minute, "hour": time.Hour}[m[4]]
		at = at.Add(time.Duration(n) * unit)
	}
	return at, true, err
}

// parseDate parses dates such as "@1700000000", "now", "today", "yesterday",
// "tomorrow", "3 days ago" and the common ISO formats.
func parseDate(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if at, ok, err := relativeDate(text, now); ok {
		return at, err
	}
	if seconds, ok := strings.CutPrefix(text, "@"); ok {
		n, err := strconv.ParseInt(seconds, 10, 64)
		return time.Unix(n, 0), err
	}
	switch text {
	case "now", "today", "":
		return now, nil
	case "yesterday":
		return now.AddDate(0, 0, -1), nil
	case "tomorrow":
		return now.AddDate(0, 0, 1), nil
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04",
		time.DateOnly, time.RFC1123, time.RFC1123Z, time.UnixDate,
	} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	words := strings.Fields(text)
	sign := 1
	if len(words) == 3 && words[2] == "ago" {
		sign, words = -1, words[:2]
	}
	units := map[string]time.Duration{
		"second": time.Second, "sec": time.Second, "minute": time.Minute, "min": time.Minute, "hour": time.Hour,
		"day": 24 * time.Hour, "week": 7 * 24 * time.Hour,
	}
	if len(words) == 2 {
		n, err := strconv.Atoi(words[0])
		if unit, ok := units[strings.TrimSuffix(words[1], "s")]; ok && err == nil {
			return now.Add(time.Duration(sign*n) * unit), nil
		}
	}
	return time.Time{}, errors.New("unsupported date format")
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
