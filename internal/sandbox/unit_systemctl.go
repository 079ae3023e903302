package sandbox

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/posixsh"
)

// The statuses of systemctl.
const (
	statusNotActive = 3
	statusNoUnit    = 4
	statusNotLoaded = 5
)

// systemctl controls the simulated services and the machine's power.
func systemctl(ctx context.Context, p *Process) int {
	o, words, bad := p.options("qfalp:t:n:o:Hrs:", "quiet=q", "now=N", "no-block=B", "force=f", "no-pager=P", "all=a", "full=l", "property=p:", "value=V", "type=t:", "state=T:", "no-legend=L", "plain=L",
		"system=S", "no-ask-password=S", "no-wall=S", "no-reload=S", "wait=w", "runtime=R", "lines=n:", "output=o:", "recursive=r", "signal=s:", "show-types=a", "preset-mode=m:", "no-warn=S", "failed=F")
	if bad != 0 {
		return bad
	}
	if len(words) == 0 {
		words = []string{"list-units"}
	}
	if p.FS.Chrooted() {
		return p.fail(1, "not supported in a chroot by this machine: make the links below /etc/systemd/system, or register a func for systemctl in Commands")
	}
	s := systemctlRun{p: p, o: o}
	verb, names := words[0], words[1:]
	switch verb {
	case "poweroff", "halt":
		return p.child(p.Args[:1]).powerNow(ctx, PowerOff)
	case "reboot", "kexec":
		return p.child(p.Args[:1]).powerNow(ctx, Reboot)
	case "is-system-running":
		p.print("running\n")
		return 0
	case "is-active", "is-failed":
		return s.is(verb, names)
	case "is-enabled":
		return s.isEnabled(names)
	case "status":
		return s.status(names)
	case "show":
		return s.show(names)
	case "cat":
		return s.cat(names)
	case "list-units", "list-timers", "list-sockets", "list-jobs", "list-dependencies":
		return s.listUnits(verb)
	case "list-unit-files":
		return s.listFiles(names)
	case "get-default":
		p.print("multi-user.target\n")
		return 0
	}
	if p.UID != 0 {
		return s.denied(verb, names)
	}
	switch verb {
	case "daemon-reload", "daemon-reexec", "reset-failed", "set-default", "set-environment", "unset-environment", "import-environment", "set-property", "preset-all":
		return recorded(ctx, p)
	case "start", "stop", "restart", "try-restart", "condrestart", "reload", "reload-or-restart", "try-reload-or-restart", "force-reload", "kill":
		return s.each(names, func(name string) int { return s.change(ctx, verb, name) })
	case "enable", "disable", "reenable", "preset", "mask", "unmask", "link", "revert":
		status := s.each(names, func(name string) int { return s.files(verb, name) })
		if status == 0 && o.on("N") {
			switch verb {
			case "enable", "reenable":
				return s.each(names, func(name string) int { return s.change(ctx, "start", name) })
			case "disable", "mask":
				return s.each(names, func(name string) int { return s.change(ctx, "stop", name) })
			}
		}
		return status
	}
	fprintf(p.Stderr, "Unknown command verb '%s', or it is not supported by this machine: register a func for systemctl in Commands\n", verb)
	return 1
}

type systemctlRun struct {
	p *Process
	o opts
}

// each calls do for the units and returns the last failure.
func (s systemctlRun) each(names []string, do func(name string) int) int {
	if len(names) == 0 {
		fprintf(s.p.Stderr, "Too few arguments.\n")
		return 1
	}
	status := 0
	for _, name := range names {
		if full, ok := posixsh.UnitName(path.Base(name)); ok {
			name = full
		}
		if bad := do(name); bad != 0 {
			status = bad
		}
	}
	return status
}

func (s systemctlRun) denied(verb string, names []string) int {
	what := "unit"
	if len(names) > 0 {
		what, _ = posixsh.UnitName(names[0])
	}
	switch verb {
	case "enable", "disable", "mask", "unmask", "reenable", "preset":
		what = "unit"
	}
	fprintf(s.p.Stderr, "Failed to %s %s: Interactive authentication required.\n", verb, what)
	return 1
}

// change starts and stops units.
func (s systemctlRun) change(ctx context.Context, verb, name string) int {
	h := s.p.Host
	u, err := h.unit(name)
	action, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(verb, "try-"), "cond"), "-")
	switch {
	case err != nil:
		fprintf(s.p.Stderr, "Failed to %s %s: Unit %[2]s not found.\n", action, name)
		return statusNotLoaded
	case u.masked && action != "stop":
		fprintf(s.p.Stderr, "Failed to %s %s: Unit %[2]s is masked.\n", action, name)
		return 1
	case strings.HasSuffix(strings.TrimSuffix(name, path.Ext(name)), "@"):
		fprintf(s.p.Stderr, "Failed to %s %s: Unit name %[2]s is missing the instance name.\n", action, name)
		return 1
	}
	active := h.units.state(u.name).active == "active"
	switch verb {
	case "stop":
		h.stopUnit(ctx, u)
		return 0
	case "kill":
		h.stopUnit(ctx, u)
		return 0
	case "try-restart", "condrestart", "try-reload-or-restart":
		if !active {
			return 0
		}
	case "reload", "force-reload":
		switch {
		case !active:
			fprintf(s.p.Stderr, "%s is not active, cannot reload.\n", name)
			return 1
		case len(u.settings["Service.ExecReload"]) == 0 && !u.vendor:
			fprintf(s.p.Stderr, "Failed to reload %s: Job type reload is not applicable for unit %[1]s.\n", name)
			return 1
		}
		run := serviceRun{h: h, u: u, out: &journalWriter{t: h.units, unit: u.name}}
		for _, line := range u.settings["Service.ExecReload"] {
			if run.line(ctx, line) != 0 {
				return s.jobFailed(name)
			}
		}
		return 0
	}
	if verb != "start" && active {
		h.stopUnit(ctx, u)
	}
	if !h.startUnit(ctx, u) {
		return s.jobFailed(name)
	}
	return 0
}

func (s systemctlRun) jobFailed(name string) int {
	fprintf(s.p.Stderr, "Job for %s failed because the control process exited with error code.\nSee \"systemctl status %[1]s\" and \"journalctl -xeu %[1]s\" for details.\n", name)
	return 1
}

// files enables, disables and masks units.
func (s systemctlRun) files(verb, name string) int {
	h := s.p.Host
	fail := func(reason string) int {
		fprintf(s.p.Stderr, "Failed to %s unit: %s\n", verb, reason)
		return 1
	}
	switch verb {
	case "mask":
		if err := h.mask(name); err != nil {
			return fail(errText(err))
		}
		if !s.o.on("q") {
			fprintf(s.p.Stderr, "Created symlink %s/%s → /dev/null.\n", unitDir, name)
		}
		return 0
	case "unmask":
		file := unitDir + "/" + name
		if target, err := asRoot(h.FS()).Readlink(file); err == nil && target == "/dev/null" {
			if err := asRoot(h.FS()).Remove(file); err != nil {
				return fail(errText(err))
			}
			if !s.o.on("q") {
				fprintf(s.p.Stderr, "Removed \"%s\".\n", file)
			}
		}
		return 0
	case "link", "revert":
		return fail("this machine does not support " + verb + ": register a func for systemctl in Commands")
	}
	u, err := h.unit(name)
	switch {
	case err != nil:
		return fail("Unit file " + name + " does not exist.")
	case u.masked && verb != "disable":
		return fail("Unit file " + u.file + " is masked.")
	}
	links, target := u.links()
	all := []*unit{u}
	for _, other := range u.words("Install.Also") {
		if also, err := h.unit(other); err == nil {
			all = append(all, also)
		}
	}
	before := h.enablement(u)
	for _, one := range all {
		if verb == "disable" || verb == "reenable" {
			err = h.disable(one)
		}
		if err == nil && verb != "disable" {
			err = h.enable(one)
		}
		if err != nil {
			return fail(errText(err))
		}
	}
	after := h.enablement(u)
	switch {
	case s.o.on("q") || before == after && verb != "reenable":
		if len(links) == 0 && !s.o.on("q") && len(all) == 1 && before != "masked" {
			fprintf(s.p.Stderr, "The unit files have no installation config (WantedBy=, RequiredBy=, UpheldBy=,\nAlso=, or Alias= settings in the [Install] section).\n")
		}
	case verb == "disable":
		for _, link := range links {
			fprintf(s.p.Stderr, "Removed \"%s\".\n", link)
		}
	default:
		for _, link := range links {
			fprintf(s.p.Stderr, "Created symlink %s → %s.\n", link, target)
		}
	}
	return 0
}

func (s systemctlRun) is(verb string, names []string) int {
	status := statusNotActive
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		u, err := s.p.Host.unit(name)
		state := unitState{active: "inactive"}
		if err == nil {
			state = s.p.Host.units.state(u.name)
		}
		if !s.o.on("q") {
			s.p.print(state.active, "\n")
		}
		switch {
		case verb == "is-failed" && state.active == "failed", verb == "is-active" && state.active == "active":
			status = 0
		case verb == "is-failed" && status != 0:
			status = 1
		case err != nil && status != 0:
			status = statusNoUnit
		}
	}
	return status
}

func (s systemctlRun) isEnabled(names []string) int {
	return s.each(names, func(name string) int {
		state, status := "not-found", statusNoUnit
		if u, err := s.p.Host.unit(name); err == nil {
			state, status = s.p.Host.enablement(u), 1
			if slices.Contains([]string{"enabled", "static", "alias", "linked"}, state) {
				status = 0
			}
		}
		if !s.o.on("q") {
			s.p.print(state, "\n")
		}
		return status
	})
}
