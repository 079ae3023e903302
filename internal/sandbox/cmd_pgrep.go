package sandbox

import (
	"context"
	"strings"
)

// pgrep finds processes by name, or with -f by their command lines; pkill signals
// them.
func pgrep(_ context.Context, p *Process) int {
	sig := signal("TERM")
	args := []string{p.Args[0]}
	for _, arg := range p.Args[1:] {
		if s, ok := parseSignal(strings.TrimPrefix(arg, "-")); ok && strings.HasPrefix(arg, "-") && p.name() == "pkill" {
			sig = s
			continue
		}
		args = append(args, arg)
	}
	p.Args = args
	o, names, bad := p.options("fxlau:cno", "full=f", "exact=x", "list-full=a", "list-name=l", "signal=s:", "euid=u:", "count=c", "newest=n", "oldest=o")
	if bad != 0 {
		return bad
	}
	if text, ok := o.value("s"); ok {
		sig, _ = parseSignal(text)
	}
	pattern := ""
	if len(names) > 0 {
		pattern = names[0]
	}
	re, err := compile(pattern, true, false, false)
	if err != nil {
		return p.fail(2, "%v", err)
	}
	count := 0
	for _, e := range p.Host.table.list() {
		if e.pid == p.PID || len(e.args) == 0 || e.pid == p.parent {
			continue
		}
		text := e.args[0][strings.LastIndexByte(e.args[0], '/')+1:]
		full := strings.Join(e.args, " ")
		if o.on("f") {
			text = full
		}
		owner, byUser := o.value("u")
		loc := re.FindStringIndex(text)
		if loc == nil || o.on("x") && (loc[0] != 0 || loc[1] != len(text)) || byUser && owner != e.user && owner != itoa(e.uid) {
			continue
		}
		count++
		switch {
		case p.name() == "pkill":
			if err := p.Host.table.signal(e.pid, sig, p.UID); err != nil {
				p.fail(1, "killing pid %d failed: %s", e.pid, errText(err))
			}
		case o.on("c"):
		case o.on("a"):
			p.print(itoa(e.pid), " ", full, "\n")
		case o.on("l"):
			p.print(itoa(e.pid), " ", text, "\n")
		default:
			p.print(itoa(e.pid), "\n")
		}
	}
	if o.on("c") {
		p.print(itoa(count), "\n")
	}
	if count == 0 {
		return 1
	}
	return 0
}
