package sandbox

import (
	"context"
	"log/slog"
	"slices"
	"strings"
)

// recorded implements commands that act only on the system, which is not simulated:
// it succeeds and logs the command.
func recorded(ctx context.Context, p *Process) int {
	p.record(ctx)
	return 0
}

func (p *Process) record(ctx context.Context) {
	p.Host.o.Logger.LogAttrs(ctx, slog.LevelDebug, "command without effect on the test machine",
		slog.String("command", strings.Join(p.Args, " ")), slog.String("user", p.User))
}

// rootOnly implements such commands that only root may run.
func rootOnly(ctx context.Context, p *Process) int {
	if p.UID != 0 {
		return p.fail(1, "Permission denied")
	}
	return recorded(ctx, p)
}

// show implements the plain forms of commands that show what this machine has
// little of.
func show(ctx context.Context, p *Process) int {
	args := strings.Join(p.Args[1:], " ")
	switch p.name() {
	case "dmesg":
		p.print("[    0.000000] Linux version ", p.Host.o.Facts.Kernel, "\n")
	case "ip":
		if strings.Contains(args, " add") || strings.Contains(args, " set") || strings.Contains(args, " del") || strings.Contains(args, " flush") {
			return rootOnly(ctx, p)
		}
		if strings.Contains(args, "-j") {
			return p.fail(2, "-j is not supported by this machine: register an ip command")
		}
		p.print("1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    inet 127.0.0.1/8 scope host lo\n")
	}
	return 0
}

// uptime, free and their like print what a small machine would.
func uptime(_ context.Context, p *Process) int {
	if slices.Contains(p.Args, "-p") {
		p.print("up 1 minute\n")
		return 0
	}
	if slices.Contains(p.Args, "-s") {
		p.print(p.Host.o.Clock.Now().UTC().Format("2006-01-02 15:04:05"), "\n")
		return 0
	}
	p.print(" ", p.Host.o.Clock.Now().UTC().Format("15:04:05"), " up 1 min,  1 user,  load average: 0.00, 0.00, 0.00\n")
	return 0
}

func free(_ context.Context, p *Process) int {
	o, _, bad := p.options("bkmghtw", "bytes=b", "kibi=k", "mebi=m", "gibi=g", "human=h", "total=t", "wide=w")
	if bad != 0 {
		return bad
	}
	sizes := []int{3994560, 300000, 3210000, 1000, 484560, 3500000} // as in /proc/meminfo
	unit, suffix := 1, ""
	switch {
	case o.on("m"):
		unit = 1024
	case o.on("g"):
		unit = 1024 * 1024
	case o.on("h"):
		unit, suffix = 1024, "Mi"
	}
	p.print("               total        used        free      shared  buff/cache   available\nMem:    ")
	for _, n := range sizes {
		fprintf(p.Stdout, "%12s", itoa(n/unit)+suffix)
	}
	p.print("\nSwap:   ")
	for range 3 {
		fprintf(p.Stdout, "%12s", "0"+map[bool]string{true: "B"}[suffix != ""])
	}
	p.print("\n")
	return 0
}

// sysctl keeps settings below /proc/sys.
func sysctl(_ context.Context, p *Process) int {
	o, names, bad := p.options("wnaqep:", "write=w", "values=n", "all=a", "quiet=q", "ignore=e", "system=s", "load=p:")
	if bad != 0 {
		return bad
	}
	var files []string
	for _, arg := range p.Args[1:] {
		if arg == "--system" {
			entries, _ := p.FS.ReadDir("/etc/sysctl.d") // it may not exist
			for _, e := range entries {
				files = append(files, "/etc/sysctl.d/"+e.Name())
			}
			files = append(files, "/etc/sysctl.conf")
		}
	}
	if file, ok := o.value("p"); ok {
		files, names = append(files, p.Path(file)), nil
	}
	for _, file := range files {
		data, _ := p.FS.ReadFile(file) // a missing file has no settings
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
				names = append(names, line)
			}
		}
	}
	status := 0
	for _, name := range names {
		key, value, set := strings.Cut(name, "=")
		key = strings.TrimPrefix(strings.TrimSpace(key), "-")
		file := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		if set {
			if p.UID != 0 {
				return p.fail(1, "permission denied on key %s", quote(key))
			}
			disk := asRoot(p.FS)
			value = strings.TrimSpace(value)
			err := disk.MkdirAll(file[:strings.LastIndexByte(file, '/')], 0o555)
			if err == nil {
				err = disk.WriteFile(file, []byte(value+"\n"), 0o644)
			}
			if err != nil {
				status = p.fail(1, "%s: %s", key, errText(err))
			} else if !o.on("q") {
				p.print(key, " = ", value, "\n")
			}
			continue
		}
		data, err := p.FS.ReadFile(file)
		if err != nil {
			status = p.fail(1, "cannot stat %s: %s", file, errText(err))
			continue
		}
		if !o.on("n") {
			p.print(key, " = ")
		}
		p.print(strings.TrimSpace(string(data)), "\n")
	}
	return status
}

// hostnamectl shows or sets the host name.
func hostnamectl(ctx context.Context, p *Process) int {
	args := slices.DeleteFunc(p.Args[1:], func(s string) bool { return strings.HasPrefix(s, "--") })
	switch {
	case len(args) == 2 && (args[0] == "set-hostname" || args[0] == "hostname"):
		if p.UID != 0 {
			return p.fail(1, "Could not set static hostname: Access denied")
		}
		p.Host.setHostname(args[1])
		if err := p.FS.WriteFile("/etc/hostname", []byte(args[1]+"\n"), 0o644); err != nil {
			return p.fail(1, "%s", errText(err))
		}
	case len(args) == 0 || args[0] == "status":
		p.print(" Static hostname: ", p.Host.hostname(), "\n       Operating System: ", p.Host.o.Facts.Name, "\n")
	case args[0] == "hostname":
		p.print(p.Host.hostname(), "\n")
	case strings.HasPrefix(args[0], "set-"):
		p.record(ctx)
	default:
		return p.fail(1, "Unknown command verb %s.", args[0])
	}
	return 0
}

// timedatectl shows the clock or sets the time zone.
func timedatectl(ctx context.Context, p *Process) int {
	args := slices.DeleteFunc(p.Args[1:], func(s string) bool { return strings.HasPrefix(s, "--") })
	switch {
	case len(args) == 0 || args[0] == "status" || args[0] == "show":
		p.print("               Local time: ", p.Host.o.Clock.Now().UTC().Format("Mon 2006-01-02 15:04:05 UTC"), "\n                Time zone: ", p.timeZone(), "\n")
	case args[0] == "set-timezone" && len(args) == 2:
		if p.UID != 0 {
			return p.fail(1, "Failed to set time zone: Access denied")
		}
		_ = p.FS.Remove("/etc/localtime") // it may not exist
		err := p.FS.Symlink("/usr/share/zoneinfo/"+args[1], "/etc/localtime")
		if err == nil {
			err = p.FS.WriteFile("/etc/timezone", []byte(args[1]+"\n"), 0o644)
		}
		if err != nil {
			return p.fail(1, "%s", errText(err))
		}
	case strings.HasPrefix(args[0], "set-"):
		p.record(ctx)
	default:
		return p.fail(1, "Unknown command verb %s.", args[0])
	}
	return 0
}

func (p *Process) timeZone() string {
	data, err := p.FS.ReadFile("/etc/timezone")
	if err != nil {
		return "Etc/UTC"
	}
	return strings.TrimSpace(string(data))
}

// crontab keeps a user's table in /var/spool/cron/crontabs. It runs nothing.
func crontab(_ context.Context, p *Process) int {
	o, names, bad := p.options("lru:ei")
	if bad != 0 {
		return bad
	}
	name := p.User
	if u, ok := o.value("u"); ok {
		name = u
	}
	disk, file := asRoot(p.FS), "/var/spool/cron/crontabs/"+name
	switch {
	case o.on("e"):
		return p.fail(2, "-e is not supported by this machine")
	case o.on("l"):
		data, err := disk.ReadFile(file)
		if err != nil {
			fprintf(p.Stderr, "no crontab for %s\n", name)
			return 1
		}
		p.print(string(data))
		return 0
	case o.on("r"):
		if disk.Remove(file) != nil {
			fprintf(p.Stderr, "no crontab for %s\n", name)
			return 1
		}
		return 0
	}
	source := "-"
	if len(names) > 0 {
		source = names[0]
	}
	in, err := p.input(source)
	if err != nil {
		return p.fail(1, "%s: %s", source, errText(err))
	}
	defer shut(in)
	data, err := p.readAll(in)
	if err == nil {
		err = disk.MkdirAll("/var/spool/cron/crontabs", 0o730)
	}
	if err == nil {
		err = disk.WriteFile(file, data, 0o600)
	}
	if err != nil {
		return p.fail(1, "%s", errText(err))
	}
	return 0
}
