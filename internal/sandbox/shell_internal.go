package sandbox

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// internal runs an internal command called by a rewritten script.
func (sh *shell) internal(ctx context.Context, hc interp.HandlerContext, args []string) int {
	p := sh.process(ctx, hc, args)
	switch args[0] {
	case "fail":
		if len(args) > 2 {
			fprintf(hc.Stderr, "%s\n", args[2])
		}
		status, _ := strconv.Atoi(args[1])
		return status
	case "newjob":
		p.print(itoa(sh.newJob(ctx)), "\n")
	case "named":
		if j := sh.job(args[1]); j != nil {
			sh.mu.Lock()
			j.alias = args[2]
			sh.mu.Unlock()
		}
	case "endjob":
		if j := sh.jobOf(hc); j != nil {
			j.end()
		}
		status, _ := strconv.Atoi(args[1])
		return status
	case "substitute":
		return sh.substitute(p)
	case "describe":
		return p.describe(args[1:])
	case "umask":
		return p.showUmask()
	case "ulimit":
		return p.ulimit()
	case "kill":
		return kill(ctx, p)
	case "printf":
		return printf(ctx, p)
	case "jobs":
	}
	return 0
}

// substitute saves the output of a process substitution to a file and prints its
// name.
func (sh *shell) substitute(p *Process) int {
	disk := asRoot(p.FS)
	name := "/dev/fd/" + itoa(p.Host.table.reservePID())
	f, err := disk.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Chown(p.UID, p.GID)
	}
	if err != nil {
		return p.fail(1, "%s", errText(err))
	}
	defer shut(f)
	sh.mu.Lock()
	sh.substitutions = append(sh.substitutions, name)
	sh.mu.Unlock()
	if _, err := io.Copy(f, p.Stdin); err != nil {
		return p.fail(1, "%s", errText(err))
	}
	p.print(name, "\n")
	return 0
}

func (sh *shell) removeSubstitutions() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, name := range sh.substitutions {
		_ = asRoot(sh.p.FS).Remove(name)
	}
}

// describe implements "type", "command -v" and "hash" for one name. The arguments
// are the command, its flags, the name and, for a function, a fourth one.
func (p *Process) describe(args []string) int {
	how, flags, name := args[0], args[1], args[2]
	kind, where := "", ""
	switch {
	case len(args) > 3:
		kind = "function"
	case syntax.IsKeyword(name):
		kind = "keyword"
	case interp.IsBuiltin(name) && (!p.dash || dashBuiltin(name)):
		kind = "builtin"
	default:
		if strings.Contains(name, "/") {
			if _, problem := p.load(p.Path(name), 0); problem == nil {
				kind, where = "file", name
			}
		} else if file, problem := p.which(name); problem == nil {
			kind, where = "file", file
		}
	}
	switch {
	case kind == "":
		if how != "command" && !strings.ContainsAny(flags, "tpP") {
			fprintf(p.Stderr, "%s: %s: not found\n", how, name)
		}
		return 1
	case how == "hash":
	case strings.Contains(flags, "t"):
		p.print(kind, "\n")
	case how == "command" || strings.ContainsAny(flags, "pP"):
		if where == "" {
			where = name
		}
		p.print(where, "\n")
	case kind == "file":
		p.print(name, " is ", where, "\n")
	case kind == "function":
		p.print(name, " is a function\n")
	default:
		p.print(name, " is a shell ", kind, "\n")
	}
	return 0
}

// showUmask prints the umask, or the one the arguments specify.
func (p *Process) showUmask() int {
	mask := p.Umask
	for _, arg := range p.Args[1:] {
		if arg == "-S" || arg == "-p" {
			return p.fail(2, "option %s is not supported by this machine", arg)
		}
		if bits, err := strconv.ParseUint(arg, 8, 12); err == nil {
			mask = modeOf(uint32(bits))
			continue
		}
		allowed, err := parseMode(arg, ^mask&0o777, false, 0)
		if err != nil {
			return p.fail(2, "%v", err)
		}
		mask = ^allowed & 0o777
	}
	fprintf(p.Stdout, "%04o\n", uint32(mask))
	return 0
}

// ulimit prints the limits of a typical machine and accepts any new limit.
func (p *Process) ulimit() int {
	flag, value := "-f", ""
	for _, arg := range p.Args[1:] {
		if strings.HasPrefix(arg, "-") {
			if arg != "-S" && arg != "-H" {
				flag = arg
			}
		} else {
			value = arg
		}
	}
	if value != "" {
		return 0
	}
	limit, ok := map[string]string{"-n": "1024", "-u": "15000", "-s": "8192", "-c": "0", "-f": "unlimited", "-v": "unlimited", "-l": "8192"}[flag]
	if !ok {
		return p.fail(2, "%s: invalid option", flag)
	}
	p.print(limit, "\n")
	return 0
}
