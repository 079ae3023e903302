package sandbox

import (
	"context"
	"slices"
	"strings"
)

// mount lists and mounts file systems.
func mount(_ context.Context, p *Process) int {
	o, names, bad := p.options("t:o:aBL:U:vrw", "types=t:", "options=o:", "all=a", "bind=B", "rbind=B", "make-rslave=S", "make-slave=S", "make-rprivate=S", "make-private=S", "label=L:", "uuid=U:", "mkdir=m")
	if bad != 0 {
		return bad
	}
	h := p.Host
	options, _ := o.value("o")
	kind, _ := o.value("t")
	if label, ok := o.value("L"); ok {
		names = append([]string{"LABEL=" + label}, names...)
	}
	if id, ok := o.value("U"); ok {
		names = append([]string{"UUID=" + id}, names...)
	}
	switch {
	case len(p.Args) == 1:
		p.print("/dev/root on / type ext4 (rw,relatime)\nproc on /proc type proc (rw,nosuid,nodev,noexec,relatime)\ntmpfs on /run type tmpfs (rw,nosuid,nodev)\n")
		for _, m := range h.mountTable() {
			p.print(m.source, " on ", m.target, " type ", m.kind, " (", m.options, ")\n")
		}
		return 0
	case p.UID != 0:
		return p.fail(1, "only root can do that")
	case o.on("a"):
		if err := h.mountAll(); err != nil {
			return p.fail(32, "%s", err)
		}
		return 0
	case strings.Contains(options, "remount") || o.on("S"):
		return 0
	case len(names) == 1: // as /etc/fstab says
		data, _ := p.FS.ReadFile("/etc/fstab")
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); len(fields) >= 4 && fields[0][0] != '#' && (fields[1] == names[0] || fields[0] == names[0]) {
				if err := h.mount(fields[0], fields[1], fields[2], fields[3]); err != nil {
					return p.fail(32, "%s", err)
				}
				return 0
			}
		}
		return p.fail(1, "%s: can't find in /etc/fstab.", names[0])
	case len(names) != 2:
		return p.fail(1, "bad usage")
	}
	source, target := names[0], p.Path(names[1])
	if o.on("B") || slices.Contains(strings.Split(options, ","), "bind") {
		kind, source, options = "bind", p.Path(source), ""
	}
	if strings.HasPrefix(kind, "nfs") || kind == "overlay" || kind == "cifs" || strings.Contains(options, "loop") {
		return p.fail(32, "%s: this machine cannot mount this: register a func for mount in Commands", target)
	}
	if o.on("m") {
		if err := p.FS.MkdirAll(target, 0o755); err != nil {
			return p.fail(32, "%s", errText(err))
		}
	}
	if err := h.mount(source, target, kind, options); err != nil {
		return p.fail(32, "%s", err)
	}
	return 0
}

// mountTable returns the mounts besides those of every machine.
func (h *Host) mountTable() []mounted {
	h.disks.mu.Lock()
	defer h.disks.mu.Unlock()
	return slices.Clone(h.disks.mounts)
}

// umount unmounts by directory or device. With -R it also unmounts what is below.
func umount(_ context.Context, p *Process) int {
	o, names, bad := p.options("lfRrqvda", "recursive=R", "lazy=l", "force=f", "quiet=q", "all=a")
	switch {
	case bad != 0:
		return bad
	case p.UID != 0:
		return p.fail(32, "must be superuser to unmount.")
	case o.on("a"):
		names = []string{"/"}
	}
	h, status := p.Host, 0
	for _, name := range names {
		name = p.Path(name)
		if resolved, err := p.FS.EvalSymlinks(name); err == nil {
			name = resolved
		}
		found := false
		h.disks.mu.Lock()
		for i, m := range slices.Backward(h.disks.mounts) {
			below := (o.on("R") || o.on("a")) && strings.HasPrefix(m.target, strings.TrimSuffix(name, "/")+"/")
			if m.target != name && m.source != name && !below {
				continue
			}
			inside := slices.ContainsFunc(h.disks.mounts[i+1:], func(other mounted) bool { return strings.HasPrefix(other.target, m.target+"/") })
			if inside && !o.on("l") {
				status = p.fail(32, "%s: target is busy.", name)
				found = true
				break
			}
			found = true
			if err := asRoot(h.FS()).Unmount(m.target); err != nil {
				status = p.fail(32, "%s: %s", name, errText(err))
			}
			h.disks.mounts = slices.Delete(h.disks.mounts, i, i+1)
			if !o.on("R") && !o.on("a") {
				break
			}
		}
		h.disks.mu.Unlock()
		if !found && !o.on("a") && !o.on("q") {
			status = p.fail(32, "%s: not mounted.", name)
		}
	}
	h.writeMounts()
	return status
}

// findmnt prints mounts, all or those of a directory or device.
func findmnt(_ context.Context, p *Process) int {
	o, names, bad := p.options("no:rlMT:S:", "noheadings=n", "output=o:", "raw=r", "list=l", "mountpoint=M", "target=T:", "source=S:")
	if bad != 0 {
		return bad
	}
	columns := "TARGET,SOURCE,FSTYPE,OPTIONS"
	if c, ok := o.value("o"); ok {
		columns = strings.ToUpper(c)
	}
	if v, ok := o.value("S"); ok {
		names = append(names, v)
	}
	var path string
	if v, ok := o.value("T"); ok {
		path = p.Path(v)
	}
	all := append([]mounted{{"/dev/root", "/", "ext4", "rw,relatime"}}, p.Host.mountTable()...)
	if path != "" { // the longest mount that contains it
		best := all[0]
		for _, m := range all {
			if (path == m.target || strings.HasPrefix(path, strings.TrimSuffix(m.target, "/")+"/")) && len(m.target) >= len(best.target) {
				best = m
			}
		}
		all = []mounted{best}
	}
	status := 1
	for _, m := range all {
		if len(names) > 0 && !slices.Contains(names, m.target) && !slices.Contains(names, m.source) {
			continue
		}
		if status == 1 && !o.on("n") {
			p.print(strings.ReplaceAll(columns, ",", " "), "\n")
		}
		status = 0
		var out []string
		for column := range strings.SplitSeq(columns, ",") {
			out = append(out, map[string]string{"TARGET": m.target, "SOURCE": m.source, "FSTYPE": m.kind, "OPTIONS": m.options}[column])
		}
		p.print(strings.Join(out, " "), "\n")
	}
	return status
}

// mountpoint reports whether directories are mount points.
func mountpoint(_ context.Context, p *Process) int {
	o, names, bad := p.options("qd", "quiet=q")
	if bad != 0 {
		return bad
	}
	status := 0
	for _, name := range names {
		is := p.Path(name) == "/" || p.Host.isMounted(strings.TrimSuffix(p.Path(name), "/"))
		if !is {
			status = 32
		}
		if !o.on("q") {
			p.print(name, map[bool]string{true: " is a mountpoint\n", false: " is not a mountpoint\n"}[is])
		}
	}
	return status
}

// df shows the size of the mounted file systems.
func df(_ context.Context, p *Process) int {
	o, names, bad := p.options("hkmPTt:x:l", "human-readable=h", "output=o:", "portability=P", "print-type=T", "local=l")
	if bad != 0 {
		return bad
	}
	type row struct {
		mounted
		gib int
	}
	rows := []row{{mounted{"/dev/root", "/", "ext4", ""}, 8}}
	for _, m := range p.Host.mountTable() {
		gib := 1
		if _, d, _ := p.Host.lookup(m.source); d != nil {
			gib = d.SizeGiB
		}
		rows = append(rows, row{m, gib})
	}
	head, unit := "1K-blocks", 1
	switch {
	case o.on("h"):
		head = "Size"
	case o.on("m"):
		head, unit = "1M-blocks", 1024
	}
	kind := ""
	if o.on("T") {
		kind = " Type"
	}
	columns, chosen := o.value("o")
	var table [][]string
	heads := map[string]string{"source": "Filesystem", "fstype": "Type", "size": head, "used": "Used", "avail": "Avail", "pcent": "Use%", "target": "Mounted on"}
	if chosen {
		var titles []string
		for column := range strings.SplitSeq(columns, ",") {
			if heads[column] == "" {
				return p.fail(2, "option --output: field %s is not supported by this machine", quote(column))
			}
			titles = append(titles, heads[column])
		}
		table = append(table, titles)
	} else {
		p.print("Filesystem    ", kind, " ", head, " Used Available Use% Mounted on\n")
	}
	for _, r := range rows {
		var best string // the mount that contains the operand
		for _, name := range names {
			for _, other := range rows {
				if path := p.Path(name); (path == other.target || path == other.source || strings.HasPrefix(path, strings.TrimSuffix(other.target, "/")+"/")) && len(other.target) >= len(best) {
					best = other.target
				}
			}
		}
		if len(names) > 0 && r.target != best {
			continue
		}
		total := r.gib * 1024 * 1024 * 97 / 100
		used := total * 24 / 100
		if chosen {
			show := func(kib int) string {
				if o.on("h") {
					return human(int64(kib) << 10)
				}
				return itoa(kib / unit)
			}
			cells := map[string]string{
				"source": r.source, "fstype": r.kind, "size": show(total), "used": show(used), "avail": show(total - used), "pcent": "24%", "target": r.target,
			}
			var line []string
			for column := range strings.SplitSeq(columns, ",") {
				line = append(line, cells[column])
			}
			table = append(table, line)
			continue
		}
		if o.on("T") {
			kind = " " + r.kind
		}
		if o.on("h") {
			fprintf(p.Stdout, "%-14s%s %.1fG %.1fG %.1fG 24%% %s\n", r.source, kind, float64(total)/(1<<20), float64(used)/(1<<20), float64(total-used)/(1<<20), r.target)
			continue
		}
		fprintf(p.Stdout, "%-14s%s %d %d %d 24%% %s\n", r.source, kind, total/unit, used/unit, (total-used)/unit, r.target)
	}
	p.printTable(table, func(column int) bool {
		return slices.Contains([]string{"Filesystem", "Type", "Mounted on"}, table[0][column])
	})
	return 0
}

// printTable aligns the columns of lines: those that are text on the left.
func (p *Process) printTable(table [][]string, isText func(column int) bool) {
	var widths []int
	for _, line := range table {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, line := range table {
		for i, cell := range line {
			switch {
			case !isText(i):
				line[i] = padSpaces(cell, widths[i])
			case i < len(line)-1:
				line[i] = cell + strings.Repeat(" ", widths[i]-len(cell))
			}
		}
		p.print(strings.Join(line, " "), "\n")
	}
}

// chroot runs a command with another root directory. Commands implemented in Go are
// available there as well.
func chroot(ctx context.Context, p *Process) int {
	o, rest, bad := p.options("+", "userspec=u:", "groups=g:", "skip-chdir=s")
	switch {
	case bad != 0:
		return 125
	case len(rest) == 0:
		return p.fail(125, "missing operand")
	}
	inner, err := p.FS.Chroot(p.Path(rest[0]))
	if err != nil {
		return p.fail(125, "cannot change root directory to %s: %s", quote(rest[0]), errText(err))
	}
	c := p.child(rest[1:])
	c.FS, c.Dir = inner, "/"
	if len(c.Args) == 0 {
		c.Args = []string{"/bin/sh", "-i"}
	}
	if who, ok := o.value("u"); ok {
		name, _, _ := strings.Cut(who, ":")
		u, known := lookupUser(inner, name)
		if !known {
			return p.fail(125, "invalid user")
		}
		c.UID, c.GID, c.User = u.uid, u.gid, u.name
		c.FS = inner.As(u.cred(inner), p.Umask)
	}
	return c.exec(ctx)
}
