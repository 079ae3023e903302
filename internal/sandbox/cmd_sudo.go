package sandbox

import (
	"context"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// sudo runs a command as another user. It is permitted to root, the login and
// members of the groups sudo, wheel and admin.
func sudo(ctx context.Context, p *Process) int {
	for i, arg := range p.Args {
		if arg == "--preserve-env" { // its list is optional
			p.Args[i] = "-E"
		}
	}
	o, rest, bad := p.options("+nSkKEu:g:Hp:viD:sb", "non-interactive=n", "stdin=S", "reset-timestamp=k", "remove-timestamp=K",
		"preserve-env=E:", "user=u:", "group=g:", "set-home=H", "prompt=p:", "validate=v", "login=i", "chdir=D:", "shell=s")
	if bad != 0 {
		return bad
	}
	if o.on("g") || o.on("b") {
		return p.fail(2, "options -g and -b are not supported by this machine")
	}
	if o.on("K") {
		return 0
	}
	target := "root"
	if name, ok := o.value("u"); ok {
		target = name
	}
	u, known := lookupUser(p.FS, target)
	if uid, isUID := number(strings.TrimPrefix(target, "#")); !known && isUID && strings.HasPrefix(target, "#") {
		u, known = lookupUID(p.FS, uid)
	}
	if !known {
		return p.fail(1, "unknown user %s", target)
	}
	if status := p.checkSudoer(o); status != 0 {
		return status
	}
	if o.on("v") || o.on("k") && len(rest) == 0 {
		return 0
	}
	c := p.child(nil)
	c.as(u)
	c.Env = p.sudoEnv(o, u)
	rest = c.assign(rest)
	switch {
	case o.on("i"):
		c.Dir = u.home
		rest = loginShell(u, rest)
	case o.on("s"):
		rest = loginShell(u, rest)
	case len(rest) == 0:
		return p.fail(1, "usage: sudo [-EHnS] [-u user] [VAR=value] command")
	}
	if dir, ok := o.value("D"); ok {
		c.Dir = p.Path(dir)
	}
	c.Args = rest
	run, problem := c.find()
	if problem != nil {
		if problem.status == 127 {
			return p.fail(1, "%s: command not found", rest[0])
		}
		return p.fail(1, "unable to execute %s: %s", rest[0], problem.reason)
	}
	return c.start(ctx, run)
}

// checkSudoer returns 0 if the user may use sudo. It asks for the password, if
// one is set, every time.
func (p *Process) checkSudoer(o opts) int {
	h := p.Host
	if p.UID == 0 {
		return 0
	}
	if p.User != h.o.Login && !p.inAdminGroup() {
		return p.fail(1, "%s is not in the sudoers file.", p.User)
	}
	if h.o.SudoPassword == "" || p.User != h.o.Login {
		return 0
	}
	if o.on("n") {
		return p.fail(1, "a password is required")
	}
	if !o.on("S") && !p.tty {
		return p.fail(1, "a terminal is required to read the password; either use the -S option to read from standard input or configure an askpass helper")
	}
	prompt, ok := o.value("p")
	if !ok {
		prompt = "[sudo] password for " + p.User + ": "
	}
	for range 3 {
		_, _ = io.WriteString(p.Stderr, prompt)
		line, complete := readLine(p.Stdin, true)
		if strings.TrimSuffix(line, "\r") == h.o.SudoPassword {
			return 0
		}
		if !complete {
			if line == "" {
				return p.fail(1, "no password was provided")
			}
			break
		}
		_, _ = io.WriteString(p.Stderr, "Sorry, try again.\n")
	}
	return p.fail(1, "incorrect password attempt")
}

func (p *Process) inAdminGroup() bool {
	for _, name := range []string{"sudo", "wheel", "admin"} {
		if g, ok := lookupGroup(p.FS, name); ok && slices.Contains(p.FS.Cred().Groups, g.gid) {
			return true
		}
	}
	return false
}

const securePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin"

func (p *Process) sudoEnv(o opts, u user) map[string]string {
	env := map[string]string{}
	for _, name := range []string{"LANG", "LC_ALL", "TERM", "DISPLAY"} {
		if value, ok := p.Env[name]; ok {
			env[name] = value
		}
	}
	if o.on("E") {
		names, _ := o.value("E")
		for name, value := range p.Env {
			if names == "" || slices.Contains(strings.Split(names, ","), name) {
				env[name] = value
			}
		}
	}
	env["PATH"], env["HOME"], env["SHELL"] = securePath, u.home, u.shell
	env["USER"], env["LOGNAME"], env["MAIL"] = u.name, u.name, "/var/mail/"+u.name
	env["SUDO_USER"], env["SUDO_UID"], env["SUDO_GID"] = p.User, itoa(p.UID), itoa(p.GID)
	env["SUDO_COMMAND"] = strings.Join(p.Args[1:], " ")
	return env
}

// loginShell returns the arguments to run a command, or else an interactive
// shell, with u's shell.
func loginShell(u user, command []string) []string {
	shell := u.shell
	if shell == "" {
		shell = "/bin/sh"
	}
	if len(command) == 0 {
		return []string{shell, "-l"}
	}
	return []string{shell, "-l", "-c", shellQuote(command...)}
}

// su runs a command as another user. It is permitted to root only, since users
// have no passwords.
func su(ctx context.Context, p *Process) int {
	args, login := []string{p.Args[0]}, false
	for _, arg := range p.Args[1:] {
		if arg == "-" {
			login = true
			continue
		}
		args = append(args, arg)
	}
	p.Args = args
	o, rest, bad := p.options("lmpc:s:", "login=l", "command=c:", "shell=s:", "preserve-environment=p")
	if bad != 0 {
		return bad
	}
	name := "root"
	if len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	u, ok := lookupUser(p.FS, name)
	switch {
	case !ok:
		return p.fail(1, "user %s does not exist or the user entry does not contain all the required fields", name)
	case p.UID != 0:
		return p.fail(1, "Authentication failure")
	}
	shell := path.Clean(u.shell)
	if s, given := o.value("s"); given {
		shell = s
	}
	c := p.child([]string{shell})
	c.as(u)
	if login || o.on("l") {
		c.Args = append(c.Args, "-l")
		c.Dir, c.Env = u.home, p.Host.loginEnv(u)
	} else if !o.on("m") && !o.on("p") {
		c.Env = maps.Clone(p.Env)
		c.Env["HOME"], c.Env["SHELL"] = u.home, shell
		if u.uid != 0 {
			c.Env["USER"], c.Env["LOGNAME"] = u.name, u.name
		}
	}
	if command, given := o.value("c"); given {
		c.Args = append(c.Args, "-c", command)
	}
	c.Args = append(c.Args, rest...)
	return c.exec(ctx)
}
