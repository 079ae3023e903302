package sandbox

import (
	"context"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

func (s systemctlRun) status(names []string) int {
	if len(names) == 0 {
		s.p.print("● ", s.p.Host.hostname(), "\n    State: running\n")
		return 0
	}
	return s.each(names, func(name string) int {
		u, err := s.p.Host.unit(name)
		if err != nil {
			fprintf(s.p.Stderr, "Unit %s could not be found.\n", name)
			return statusNoUnit
		}
		state := s.p.Host.units.state(u.name)
		s.p.print("● ", u.name, " - ", u.description(), "\n     Loaded: loaded (", u.file, "; ", s.p.Host.enablement(u), ")\n     Active: ", state.active, " (", subState(state), ")\n")
		for _, line := range s.p.Host.units.lines(u.name, 10) {
			s.p.print(u.name, ": ", line, "\n")
		}
		if state.active != "active" {
			return statusNotActive
		}
		return 0
	})
}

func (u *unit) description() string {
	if text := u.get("Unit.Description"); text != "" {
		return text
	}
	return u.name
}

func subState(s unitState) string {
	switch {
	case s.active == "active" && s.kill != nil:
		return "running"
	case s.active == "active":
		return "running"
	case s.active == "failed":
		return "Result: exit-code"
	}
	return "dead"
}

// show prints properties of units.
func (s systemctlRun) show(names []string) int {
	if len(names) == 0 {
		names = []string{""}
	}
	wanted := make([]string, 0, len(s.o.given))
	for _, list := range s.o.values("p") {
		wanted = append(wanted, strings.Split(list, ",")...)
	}
	for _, name := range names {
		properties := []struct{ key, value string }{{"Version", "255"}}
		if name != "" {
			properties = s.properties(name)
		}
		for _, property := range properties {
			switch {
			case len(wanted) > 0 && !slices.Contains(wanted, property.key):
			case s.o.on("V"):
				s.p.print(property.value, "\n")
			default:
				s.p.print(property.key, "=", property.value, "\n")
			}
		}
	}
	return 0
}

func (s systemctlRun) properties(name string) []struct{ key, value string } {
	full, _ := posixsh.UnitName(name)
	u, err := s.p.Host.unit(name)
	load, file, enabled, description := "not-found", "", "", full
	var state unitState
	if err == nil {
		state = s.p.Host.units.state(u.name)
		load, file, enabled, description = "loaded", u.file, s.p.Host.enablement(u), u.description()
		if u.masked {
			load = "masked"
		}
	} else {
		state.active, u = "inactive", &unit{}
	}
	sub, pid := subState(state), "0"
	if state.active == "failed" {
		sub = "failed"
	}
	if state.active == "active" {
		pid = "1001"
	}
	result := "success"
	if state.result != "" {
		result = state.result
	}
	kind := u.get("Service.Type")
	if kind == "" {
		kind = "simple"
	}
	return []struct{ key, value string }{
		{"Id", full}, {"Names", full}, {"Description", description}, {"LoadState", load}, {"ActiveState", state.active}, {"SubState", sub}, {"UnitFileState", enabled},
		{"FragmentPath", file}, {"NeedDaemonReload", "no"}, {"Type", kind}, {"MainPID", pid}, {"Result", result}, {"ExecMainStatus", itoa(state.status)}, {"Restart", u.get("Service.Restart")},
		{"User", u.get("Service.User")}, {"Environment", strings.Join(u.settings["Service.Environment"], " ")}, {"WantedBy", strings.Join(u.words("Install.WantedBy"), " ")}, {"NRestarts", "0"},
	}
}

func (s systemctlRun) cat(names []string) int {
	return s.each(names, func(name string) int {
		u, err := s.p.Host.unit(name)
		if err != nil || u.masked {
			fprintf(s.p.Stderr, "No files found for %s.\n", name)
			return 1
		}
		data, _ := asRoot(s.p.Host.FS()).ReadFile(u.file) // unit has just read it
		s.p.print("# ", u.file, "\n", string(data))
		return 0
	})
}

func (s systemctlRun) listUnits(verb string) int {
	kind, _ := s.o.value("t")
	if verb == "list-timers" {
		kind = "timer"
	}
	active := s.p.Host.units.activeUnits()
	slices.Sort(active)
	if s.o.on("F") {
		active = nil
	}
	for _, name := range active {
		if kind == "" || strings.HasSuffix(name, "."+kind) {
			s.p.print("  ", name, " loaded active running\n")
		}
	}
	return 0
}

func (s systemctlRun) listFiles(patterns []string) int {
	kind, _ := s.o.value("t")
	for i, name := range patterns {
		if !strings.Contains(name, ".") && !strings.ContainsAny(name, "*?[") {
			patterns[i] += ".service"
		}
	}
	found := 0
	if !s.o.on("L") {
		s.p.print("UNIT FILE STATE PRESET\n")
	}
	for _, name := range s.p.Host.unitFiles() {
		if !matchesAny(patterns, name) || kind != "" && !strings.HasSuffix(name, "."+kind) {
			continue
		}
		if u, err := s.p.Host.unit(name); err == nil {
			found++
			s.p.print(name, " ", s.p.Host.enablement(u), " enabled\n")
		}
	}
	if !s.o.on("L") {
		s.p.print("\n", itoa(found), " unit files listed.\n")
	}
	if found == 0 && len(patterns) > 0 {
		return 1
	}
	return 0
}

// lines returns the last lines of a unit, or of all units.
func (t *unitTable) lines(unit string, n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for _, line := range t.journal {
		if unit == "" || line.unit == unit {
			all = append(all, line.text)
		}
	}
	if n >= 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	return all
}

// journalctl prints the output of the units that ran since the boot.
func journalctl(_ context.Context, p *Process) int {
	o, _, bad := p.options("u:n:xebrqfo:p:S:U:t:ak", "unit=u:", "lines=n:", "no-pager=P", "boot=b", "output=o:", "quiet=q", "since=S:", "until=U:", "identifier=t:", "priority=p:", "catalog=x", "pager-end=e", "reverse=r", "all=a",
		"dmesg=k", "vacuum-time=V:", "vacuum-size=V:", "rotate=V", "flush=V", "disk-usage=d", "sync=V")
	switch {
	case bad != 0:
		return bad
	case o.on("f"):
		return p.fail(1, "-f is not supported by this machine")
	case o.on("V"):
		return 0
	case o.on("d"):
		p.print("Archived and active journals take up 0B in the file system.\n")
		return 0
	}
	unit, _ := o.value("u")
	if full, ok := posixsh.UnitName(unit); ok {
		unit = full
	}
	n := -1
	if text, ok := o.value("n"); ok {
		n, _ = number(text)
	}
	lines := p.Host.units.lines(unit, n)
	if len(lines) == 0 && !o.on("q") {
		p.print("-- No entries --\n")
	}
	for _, line := range lines {
		p.print(line, "\n")
	}
	return 0
}

// service implements service(8) by systemctl.
func service(ctx context.Context, p *Process) int {
	switch {
	case len(p.Args) == 2 && p.Args[1] == "--status-all":
		active := p.Host.units.activeUnits()
		slices.Sort(active)
		for _, name := range active {
			p.print(" [ + ]  ", strings.TrimSuffix(name, ".service"), "\n")
		}
		return 0
	case len(p.Args) < 3:
		return p.fail(1, "usage: service <service> <command>")
	}
	return p.child(append([]string{"systemctl", p.Args[2], p.Args[1]}, p.Args[3:]...)).exec(ctx)
}

// chkconfig implements "chkconfig SERVICE on" and off by systemctl.
func chkconfig(ctx context.Context, p *Process) int {
	if len(p.Args) == 3 {
		switch p.Args[2] {
		case "on":
			return p.child([]string{"systemctl", "enable", p.Args[1]}).exec(ctx)
		case "off":
			return p.child([]string{"systemctl", "disable", p.Args[1]}).exec(ctx)
		}
	}
	return p.fail(2, "only SERVICE on and SERVICE off are supported by this machine")
}

// ports returns the TCP ports on which services listen.
func (h *Host) ports() []int {
	active := h.units.activeUnits()
	ports := append(make([]int, 0, len(active)+1), sshPort)
	for _, name := range active {
		ports = append(ports, h.unitPorts(name)...)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

const sshPort = 22

// ss lists the ports on which services listen.
func ss(_ context.Context, p *Process) int {
	o, _, bad := p.options("ltunpaHe46o", "listening=l", "tcp=t", "udp=u", "numeric=n", "processes=p", "all=a", "no-header=H", "ipv4=4", "ipv6=6")
	if bad != 0 {
		return bad
	}
	if !o.on("H") {
		p.print("State  Recv-Q Send-Q Local Address:Port  Peer Address:Port\n")
	}
	if o.on("u") && !o.on("t") || !o.on("l") && !o.on("a") {
		return 0
	}
	for _, port := range p.Host.ports() {
		if p.name() == "netstat" {
			fprintf(p.Stdout, "tcp        0      0 0.0.0.0:%d              0.0.0.0:*               LISTEN\n", port)
			continue
		}
		fprintf(p.Stdout, "LISTEN 0      128          0.0.0.0:%-8d 0.0.0.0:*\n", port)
	}
	return 0
}
