package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"os"
	"path"
	"slices"
	"strings"
)

// smallBuiltin returns further small commands of util-linux, coreutils and others.
func smallBuiltin(name string) Command {
	switch name {
	case "getopt":
		return getopt
	case "fallocate":
		return fallocate
	case "groups":
		return groupsCommand
	case "runuser":
		return runuser
	case "pidof", "killall":
		return pidof
	case "link":
		return link
	case "unlink":
		return unlink
	case "shred":
		return shred
	case "stdbuf":
		return stdbuf
	case "clear", "tput":
		return tput
	case "gpg":
		return gpg
	case "nologin":
		return nologin
	}
	return nil
}

// getopt implements the enhanced getopt of util-linux.
func getopt(_ context.Context, p *Process) int {
	o, args, bad := p.options("+o:l:n:qQaTus:", "options=o:", "longoptions=l:", "long=l:", "name=n:", "quiet=q", "quiet-output=Q", "alternative=a", "test=T", "unquoted=u", "shell=s:")
	if bad != 0 {
		return bad
	}
	if o.on("T") {
		return 4 //nolint:mnd // that of the enhanced version
	}
	short, given := o.value("o")
	if !given {
		if len(args) == 0 {
			return p.fail(2, "missing optstring argument")
		}
		short, args = args[0], args[1:]
		o.given = append(o.given, opt{name: "u"}) // as the old getopt
	}
	if o.on("n") {
		p.Args[0], _ = o.value("n")
	}
	long := strings.FieldsFunc(strings.Join(o.values("l"), ","), func(c rune) bool { return c == ',' || c == ' ' })
	stop := strings.HasPrefix(short, "+")
	var out, rest []string
	status := 0
	add := func(word string) { out = append(out, map[bool]string{true: word, false: shellQuote(word)}[o.on("u")]) }
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			rest, args = append(rest, args...), nil
		case strings.HasPrefix(arg, "--"), o.on("a") && len(arg) > 1 && arg[0] == '-' && arg[1] != '-':
			name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			known := slices.DeleteFunc(slices.Clone(long), func(l string) bool { return !strings.HasPrefix(l, name) })
			if exact := slices.IndexFunc(known, func(l string) bool { return strings.TrimRight(l, ":") == name }); exact >= 0 {
				known = known[exact : exact+1]
			}
			switch {
			case len(known) == 0:
				status = p.fail(1, "unrecognized option '%s'", arg)
				continue
			case len(known) > 1:
				status = p.fail(1, "option '%s' is ambiguous", arg)
				continue
			}
			full := strings.TrimRight(known[0], ":")
			out = append(out, "--"+full)
			switch colons := len(known[0]) - len(full); {
			case colons == 0 && hasValue:
				status = p.fail(1, "option '--%s' doesn't allow an argument", full)
			case colons == 1 && !hasValue && len(args) == 0:
				status = p.fail(1, "option '--%s' requires an argument", full)
			case colons == 1 && !hasValue:
				add(args[0])
				args = args[1:]
			case colons > 0:
				add(value)
			}
		case len(arg) > 1 && arg[0] == '-':
			for i := 1; i < len(arg); i++ {
				at := strings.IndexByte(strings.TrimLeft(short, "+-"), arg[i])
				spec := strings.TrimLeft(short, "+-")
				if at < 0 || arg[i] == ':' {
					status = p.fail(1, "invalid option -- '%c'", arg[i])
					continue
				}
				out = append(out, "-"+arg[i:i+1])
				if !strings.HasPrefix(spec[at+1:], ":") {
					continue
				}
				value := arg[i+1:]
				switch {
				case value != "" || strings.HasPrefix(spec[at+1:], "::"):
					add(value)
				case len(args) == 0:
					status = p.fail(1, "option requires an argument -- '%c'", arg[i])
				default:
					add(args[0])
					args = args[1:]
				}
				break
			}
		case stop:
			rest, args = append(append(rest, arg), args...), nil
		default:
			rest = append(rest, arg)
		}
	}
	out = append(out, "--")
	for _, word := range rest {
		add(word)
	}
	p.print(" ", strings.Join(out, " "), "\n")
	return status
}

// fallocate makes a file of a size.
func fallocate(_ context.Context, p *Process) int {
	o, names, bad := p.options("l:o:nx", "length=l:", "offset=o:", "keep-size=n", "posix=x")
	if bad != 0 {
		return bad
	}
	text, _ := o.value("l")
	n, ok := parseSize(strings.TrimSuffix(text, "iB"))
	if !ok || n <= 0 || len(names) != 1 {
		return p.fail(1, "invalid length value specified")
	}
	f, err := p.FS.OpenFile(p.Path(names[0]), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return p.fail(1, "cannot open %s: %s", names[0], errText(err))
	}
	info, err := f.Stat()
	_ = f.Close()
	if err == nil && info.Size() < n {
		err = p.FS.Truncate(p.Path(names[0]), n)
	}
	if err != nil {
		return p.fail(1, "fallocate failed: %s", errText(err))
	}
	return 0
}

func groupsCommand(ctx context.Context, p *Process) int {
	_, names, bad := p.options("")
	if bad != 0 {
		return bad
	}
	status := 0
	for _, name := range names {
		p.print(name, " : ")
		status = max(status, p.Run(ctx, "id", "-nG", name))
	}
	if len(names) == 0 {
		return p.Run(ctx, "id", "-nG")
	}
	return status
}

// runuser is su, or with -u runs a command as the user.
func runuser(ctx context.Context, p *Process) int {
	if len(p.Args) > 2 && (p.Args[1] == "-u" || p.Args[1] == "--user") { //nolint:mnd // the option and its value
		command := p.Args[3:]
		if len(command) > 0 && command[0] == "--" {
			command = command[1:]
		}
		u, ok := lookupUser(p.FS, p.Args[2])
		switch {
		case p.UID != 0:
			return p.fail(1, "may not be used by non-root users")
		case !ok:
			return p.fail(1, "user %s does not exist", p.Args[2])
		case len(command) == 0:
			return p.fail(1, "no command was specified")
		}
		c := p.child(command)
		c.as(u)
		return c.exec(ctx)
	}
	return su(ctx, p)
}

// pidof prints the processes of programs; killall signals them.
func pidof(_ context.Context, p *Process) int {
	sig, args := signal("TERM"), p.Args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if known, ok := parseSignal(args[0][1:]); ok {
			sig = known
		} else if !slices.Contains([]string{"-q", "-s", "-x", "-w", "-e"}, args[0]) {
			return p.fail(2, "option '%s' is not supported by this machine", args[0])
		}
		args = args[1:]
	}
	var found []string
	for _, e := range p.Host.table.list() {
		if e.pid == p.PID || len(e.args) == 0 || !slices.Contains(args, path.Base(e.args[0])) && !slices.Contains(args, e.args[0]) {
			continue
		}
		if p.name() == "killall" {
			if err := p.Host.table.signal(e.pid, sig, p.UID); err != nil {
				return p.fail(1, "(%d): %s", e.pid, errText(err))
			}
		}
		found = append([]string{itoa(e.pid)}, found...)
	}
	switch {
	case len(found) == 0 && p.name() == "killall":
		return p.fail(1, "%s: no process found", strings.Join(args, " "))
	case len(found) == 0:
		return 1
	case p.name() == "pidof":
		p.print(strings.Join(found, " "), "\n")
	}
	return 0
}

func link(_ context.Context, p *Process) int {
	if len(p.Args) != 3 { //nolint:mnd // two files
		return p.fail(1, "missing operand")
	}
	if err := p.FS.Link(p.Path(p.Args[1]), p.Path(p.Args[2])); err != nil {
		return p.fail(1, "cannot create link %s to %s: %s", quote(p.Args[2]), quote(p.Args[1]), errText(err))
	}
	return 0
}

func unlink(_ context.Context, p *Process) int {
	if len(p.Args) != 2 { //nolint:mnd // one file
		return p.fail(1, "missing operand")
	}
	info, err := p.FS.Lstat(p.Path(p.Args[1]))
	if err == nil && info.IsDir() {
		err = errors.New("Is a directory") //nolint:staticcheck // as the system prints it
	} else if err == nil {
		err = p.FS.Remove(p.Path(p.Args[1]))
	}
	if err != nil {
		return p.fail(1, "cannot unlink %s: %s", quote(p.Args[1]), errText(err))
	}
	return 0
}

// shred overwrites files with random bytes.
func shred(_ context.Context, p *Process) int {
	o, names, bad := p.options("fuvxzn:s:", "force=f", "remove=u", "verbose=v", "exact=x", "zero=z", "iterations=n:", "size=s:")
	if bad != 0 {
		return bad
	}
	status := 0
	for _, name := range names {
		info, err := p.FS.Stat(p.Path(name))
		if err == nil && !p.hold(info.Size()) {
			err = errMemory
		}
		if err == nil {
			noise := make([]byte, info.Size())
			if !o.on("z") {
				_, _ = rand.Read(noise) // never fails
			}
			err = p.FS.WriteFile(p.Path(name), noise, info.Mode().Perm())
		}
		if err == nil && o.on("u") {
			err = p.FS.Remove(p.Path(name))
		}
		if err != nil {
			status = p.fail(1, "%s: failed to open for writing: %s", name, errText(err))
		}
	}
	return status
}

// stdbuf runs a command: pipes here do not wait for full buffers.
func stdbuf(ctx context.Context, p *Process) int {
	return p.wrap(ctx, "+i:o:e:", "input=i:", "output=o:", "error=e:")
}

// tput implements clear and tput, which print nothing without a terminal.
func tput(_ context.Context, p *Process) int {
	if p.name() == "tput" && len(p.Args) > 1 {
		if text := map[string]string{"cols": "80\n", "lines": "24\n", "colors": "-1\n"}[p.Args[1]]; text != "" {
			p.print(text)
		}
	}
	return 0
}

func nologin(_ context.Context, p *Process) int {
	p.print("This account is currently not available.\n")
	return 1
}

// gpg implements --dearmor, --enarmor and --import, which scripts use for the keys of
// repositories. It checks nothing: signatures are not simulated.
func gpg(_ context.Context, p *Process) int {
	o, names, bad := p.options("o:aq", "output=o:", "armor=a", "quiet=q", "yes=y", "batch=b", "no-tty=t", "dearmor=D", "import=i", "no-default-keyring=n", "keyring=k:", "homedir=h:", "no-options=x")
	if bad != 0 {
		return bad
	}
	to, _ := o.value("o")
	switch {
	case o.on("D"):
	case o.on("i"):
		if to, _ = o.value("k"); to == "" {
			to = p.Env["HOME"] + "/.gnupg/pubring.kbx"
		}
		to = strings.TrimPrefix(to, "gnupg-ring:")
	default:
		return p.fail(2, "only --dearmor and --import are supported by this machine")
	}
	all := &fileSequence{p: p, names: names}
	defer all.close()
	data, err := p.readAll(all)
	if err != nil || all.status != 0 {
		return p.fail(2, "can't read the input")
	}
	if data, err = dearmor(data); err != nil {
		return p.fail(2, "%v", err)
	}
	if to == "" || to == "-" {
		p.print(string(data))
		return 0
	}
	if _, err := p.FS.Stat(p.Path(to)); err == nil && !o.on("y") && o.on("D") {
		return p.fail(2, "dearmoring failed: File exists")
	}
	if err := p.put(p.Path(to), string(data)); err != nil {
		return p.fail(2, "can't create '%s': %s", to, errText(err))
	}
	return 0
}

// dearmor decodes a PGP block in ASCII. Other data it returns as it is.
func dearmor(data []byte) ([]byte, error) {
	_, block, found := bytes.Cut(data, []byte("-----BEGIN PGP "))
	if !found {
		if len(data) == 0 || data[0]&0x80 == 0 {
			return nil, errors.New("no valid OpenPGP data found")
		}
		return data, nil
	}
	block = bytes.ReplaceAll(block, []byte("\r"), nil)
	_, body, ok := bytes.Cut(block, []byte("\n\n"))
	body, _, ended := bytes.Cut(body, []byte("-----END PGP "))
	if !ok || !ended {
		return nil, errors.New("invalid armor")
	}
	var text strings.Builder
	for line := range strings.Lines(string(body)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "=") { // the checksum
			text.WriteString(line)
		}
	}
	return base64.StdEncoding.DecodeString(text.String())
}
