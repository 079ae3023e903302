package sandbox

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// chpasswd and its like change /etc/shadow.
func chpasswd(_ context.Context, p *Process) int {
	if p.UID != 0 {
		return p.fail(1, "Permission denied.")
	}
	data, err := p.readAll(p.Stdin)
	if err != nil {
		return p.fail(1, "%s", errText(err))
	}
	status := 0
	for line := range strings.Lines(string(data)) {
		name, password, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			continue
		}
		hash := password
		if !slices.Contains(p.Args, "-e") {
			hash = "$6$simulated$" + itoa(len(password))
		}
		err := rewriteLine(p.FS, "/etc/shadow", name, 0o640, func(fields []string) { fields[1] = hash })
		if err != nil {
			status = p.fail(1, "(user %s) pam_chauthtok() failed", name)
		}
	}
	return status
}

// userdel and groupdel remove lines from the account files.
func userdel(_ context.Context, p *Process) int {
	o, names, bad := p.options("rf", "remove=r", "force=f")
	if bad != 0 {
		return bad
	}
	if p.UID != 0 {
		return p.fail(1, "Permission denied.")
	}
	if len(names) != 1 {
		return p.fail(2, "one name expected")
	}
	name := names[0]
	disk := p.FS
	if p.name() == "groupdel" || p.name() == "delgroup" {
		if !removeRecord(disk, "/etc/group", name) {
			return p.fail(6, "group '%s' does not exist", name)
		}
		return 0
	}
	u, ok := lookupUser(disk, name)
	if !ok {
		return p.fail(6, "user '%s' does not exist", name)
	}
	removeRecord(disk, "/etc/passwd", name)
	removeRecord(disk, "/etc/shadow", name)
	removeRecord(disk, "/etc/group", name)
	if o.on("r") {
		_ = disk.RemoveAll(u.home) // it may not exist
	}
	return 0
}

// removeRecord removes the line of a name from a colon-separated file.
func removeRecord(disk *memfs.FS, file, name string) bool {
	data, err := disk.ReadFile(file)
	if err != nil {
		return false
	}
	found := false
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, name+":") {
			found = true
			continue
		}
		b.WriteString(line)
	}
	f, err := disk.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return false
	}
	defer shut(f)
	_, err = f.WriteString(b.String())
	return found && err == nil
}

// adduser implements Debian's adduser by useradd and usermod.
func adduser(ctx context.Context, p *Process) int {
	o, names, bad := p.options("", "system=S", "group=G", "no-create-home=H", "disabled-password=D", "disabled-login=L", "gecos=c:", "comment=c:",
		"home=d:", "shell=s:", "uid=u:", "gid=g:", "ingroup=i:", "quiet=q", "force-badname=F", "allow-bad-names=F")
	if bad != 0 {
		return bad
	}
	if len(names) == 2 {
		return p.Run(ctx, "usermod", "-aG", names[1], names[0])
	}
	if len(names) != 1 {
		return p.fail(1, "Only one or two names allowed.")
	}
	if p.name() == "addgroup" {
		args := []string{"groupadd"}
		if o.on("S") {
			args = append(args, "-r")
		}
		return p.Run(ctx, append(args, names[0])...)
	}
	args := []string{"useradd"}
	if !o.on("H") {
		args = append(args, "-m")
	}
	if o.on("S") {
		args = append(args, "-r")
	}
	for flag, to := range map[string]string{"c": "-c", "d": "-d", "s": "-s", "u": "-u", "g": "-g", "i": "-g"} {
		if v, ok := o.value(flag); ok {
			args = append(args, to, v)
		}
	}
	if !o.on("q") {
		p.print("Adding user `", names[0], "' ...\n")
	}
	return p.Run(ctx, append(args, names[0])...)
}

// visudo checks the syntax of sudoers files with -c.
func visudo(_ context.Context, p *Process) int {
	o, names, bad := p.options("cqf:s", "check=c", "quiet=q", "file=f:", "strict=s")
	if bad != 0 {
		return bad
	}
	if !o.on("c") {
		return p.fail(2, "only -c is supported by this machine")
	}
	file := "/etc/sudoers"
	if f, ok := o.value("f"); ok {
		file = f
	} else if len(names) > 0 {
		file = names[0]
	}
	data, err := p.FS.ReadFile(p.Path(file))
	if err != nil {
		return p.fail(1, "unable to open %s: %s", file, errText(err))
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == '@' || strings.HasPrefix(line, "Defaults") || strings.Contains(line, "_Alias"):
		case !strings.Contains(line, "=") || len(strings.Fields(line)) < 2:
			fprintf(p.Stderr, "%s:%d: syntax error\n", file, n)
			return 1
		}
	}
	if !o.on("q") {
		p.print(file, ": parsed OK\n")
	}
	return 0
}
