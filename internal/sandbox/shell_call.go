package sandbox

import (
	"context"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// call is called before every simple command. It replaces builtins that the
// interpreter lacks or that would access the real computer.
func (sh *shell) call(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	if j := sh.jobOf(hc); j != nil && args[0] != internal {
		if sig, ok := signalOf(j.ctx()); ok { //nolint:contextcheck // a killed job runs no more commands
			return []string{"exit", itoa(sig.status())}, nil
		}
	}
	if args[0] == "builtin" && len(args) > 1 && (args[1] == "read" || args[1] == "mapfile" || args[1] == "readarray") {
		return args, nil // called by read and readAll
	}
	if sh.dash && !dashBuiltin(args[0]) {
		return sh.refuse(hc, args[0], 127, notFound), nil
	}
	switch args[0] {
	case "kill", "umask", "ulimit", "jobs", "hash", "type":
		return sh.ownBuiltin(args), nil
	case "command":
		return sh.command(ctx, args)
	case "pwd":
		if slices.Contains(args[1:], "-P") {
			if dir, err := sh.p.FS.EvalSymlinks(hc.Dir); err == nil {
				return []string{internal, "printf", "%s\n", dir}, nil
			}
		}
	case "cd":
		return sh.cd(hc, args), nil
	case "printf":
		if len(args) > 3 && args[1] == "-v" && syntax.ValidName(args[2]) {
			name := args[2] // the dot preserves trailing newlines
			return eval(name + "=$(" + internal + " printf " + shellQuote(args[3:]...) + "; " + internal + " printf .) && " +
				name + "=${" + name + "%.}"), nil
		}
		return append([]string{internal}, args...), nil
	case "eval", "trap":
		return sh.rewriteArgs(args)
	case "source", ".":
		return sh.source(hc, args)
	case "read":
		return sh.read(ctx, hc, args), nil
	case "mapfile", "readarray":
		return sh.readAll(ctx, hc, args), nil
	case "test", "[":
		return sh.test(hc, args), nil
	case "set":
		return sh.set(hc, args), nil
	case "wait":
		return sh.wait(args), nil
	case "echo":
		return sh.echo(args), nil
	}
	return args, nil
}

// refuse returns a command that fails with a message in the shell's format.
func (sh *shell) refuse(hc interp.HandlerContext, name string, status int, reason string) []string {
	line := "line " + itoa(int(hc.Pos.Line()))
	if sh.dash {
		line = strings.TrimPrefix(line, "line ")
	} else if reason == notFound {
		reason = "command not found"
	}
	return []string{internal, "fail", itoa(status), sh.name + ": " + line + ": " + name + ": " + reason}
}

// eval returns a command that runs text in the calling shell.
func eval(text string) []string { return []string{"eval", text} }

// ownBuiltin replaces a builtin by an internal command, wrapped in shell code
// where it depends on the shell's functions or variables.
func (sh *shell) ownBuiltin(args []string) []string {
	switch args[0] {
	case "type", "hash":
		return eval(sh.describe(args[0], args[1:]))
	case "umask":
		if len(args) > 1 {
			return eval(hiddenUmask + "=$(" + internal + " umask " + shellQuote(args[1:]...) + ")")
		}
	}
	return append([]string{internal}, args...)
}

// describe returns shell code that checks for each name whether it is a function
// and otherwise calls the internal describe command.
func (sh *shell) describe(how string, args []string) string {
	flags, names := []string{}, []string{}
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") && len(names) == 0 {
			flags = append(flags, arg)
		} else {
			names = append(names, arg)
		}
	}
	var b strings.Builder
	b.WriteString("(r=0; ")
	for _, name := range names {
		ask := shellQuote(append(append([]string{internal, "describe", how}, strings.Join(flags, "")), name)...)
		if syntax.ValidName(name) {
			b.WriteString("if declare -f " + name + " >/dev/null 2>&1; then " + ask + " function; else " + ask + "; fi || r=1; ")
		} else {
			b.WriteString(ask + " || r=1; ")
		}
	}
	b.WriteString("exit $r)")
	return b.String()
}

func (sh *shell) command(ctx context.Context, args []string) ([]string, error) {
	rest := args[1:]
	for len(rest) > 0 && (rest[0] == "-p" || rest[0] == "--") {
		rest = rest[1:]
	}
	if len(rest) == 0 {
		return []string{"true"}, nil
	}
	if rest[0] == "-v" || rest[0] == "-V" {
		how := map[string]string{"-v": "command", "-V": "type"}[rest[0]]
		return eval(sh.describe(how, rest[1:])), nil
	}
	inner, err := sh.call(ctx, rest)
	if err != nil {
		return nil, err
	}
	return append([]string{"command", "--"}, inner...), nil
}

func (sh *shell) cd(hc interp.HandlerContext, args []string) []string {
	physical := false
	rest := args[1:]
	for len(rest) > 0 && (rest[0] == "-L" || rest[0] == "-P" || rest[0] == "--") {
		physical = physical || rest[0] == "-P"
		rest = rest[1:]
	}
	if physical && len(rest) == 1 {
		if dir, err := sh.p.FS.EvalSymlinks(sh.abs(hc, rest[0])); err == nil {
			rest = []string{dir}
		}
	}
	return append([]string{"cd"}, rest...)
}

func (sh *shell) rewriteArgs(args []string) ([]string, error) {
	out := slices.Clone(args)
	switch args[0] {
	case "eval":
		text, err := sh.rewriteText(strings.Join(args[1:], " "))
		if err != nil {
			sh.syntaxError(err)
			return []string{internal, "fail", "2"}, nil
		}
		return eval(text), nil
	default: // trap; handlers of signals are dropped, since scripts receive none
		if len(args) < 3 {
			return out, nil
		}
		text, err := sh.rewriteText(args[1])
		if err != nil {
			sh.syntaxError(err)
			return []string{internal, "fail", "2"}, nil
		}
		out = []string{"trap", text}
		for _, sig := range args[2:] {
			switch sig = strings.TrimPrefix(sig, "SIG"); {
			case sig == "0":
				out = append(out, "EXIT")
			case sig == "DEBUG" || sig == "RETURN":
				out = append(out, sig) // rejected by the interpreter
			case isSignal(sig):
			default:
				out = append(out, sig)
			}
		}
		if len(out) == 2 {
			return []string{"true"}, nil
		}
		return out, nil
	}
}

func isSignal(name string) bool {
	_, ok := parseSignal(name)
	return ok
}

// source finds a sourced file like the shell and replaces it by its rewritten
// text.
func (sh *shell) source(hc interp.HandlerContext, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	name := args[1]
	p := sh.p.child([]string{name})
	p.Env, p.Dir = exported(hc.Env), hc.Dir
	if !strings.Contains(name, "/") {
		file, found := "", false
		for dir := range strings.SplitSeq(p.Env["PATH"], ":") {
			file = path.Join(p.Path(dir), name)
			if info, err := p.FS.Stat(file); err == nil && info.Mode().IsRegular() {
				found = true
				break
			}
		}
		if !found && !sh.dash {
			file = p.Path(name)
		} else if !found {
			return sh.refuse(hc, ".", 2, name+": not found"), nil
		}
		name = file
	}
	if strings.HasPrefix(path.Clean(p.Path(name)), "/dev/std") || strings.HasPrefix(path.Clean(p.Path(name)), "/proc/self/fd/") {
		return args, nil // handled by open
	}
	data, err := p.FS.ReadFile(p.Path(name))
	if err != nil {
		return sh.refuse(hc, ".", map[bool]int{true: 2, false: 1}[sh.dash], "cannot open "+args[1]+": "+errText(err)), nil
	}
	text, err := sh.rewriteText(string(data))
	if err != nil {
		sh.syntaxError(err)
		return []string{internal, "fail", "2"}, nil
	}
	return append([]string{"source", sh.storeText(text)}, args[2:]...), nil
}

// textPrefix is the prefix of the names of texts stored in the shell.
const textPrefix = "/dev/null/text-"

func (sh *shell) storeText(text string) string {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	name := textPrefix + itoa(len(sh.texts))
	sh.texts[name] = text
	return name
}

func (sh *shell) storedText(name string) (string, bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	text, ok := sh.texts[name]
	return text, ok
}

// test replaces conditions whose answer would depend on the real computer's user
// and terminals.
func (sh *shell) test(hc interp.HandlerContext, args []string) []string {
	out := slices.Clone(args)
	for i := 1; i+1 < len(out); i++ {
		var holds bool
		switch out[i] {
		case "-O", "-G":
			info, err := sh.p.FS.Stat(sh.abs(hc, out[i+1]))
			holds = err == nil && (out[i] == "-O" && info.UID() == sh.p.UID || out[i] == "-G" && info.GID() == sh.p.GID)
		case "-t":
			holds = sh.p.tty
		case "==":
			if sh.dash {
				return sh.refuse(hc, args[0], 2, out[i-1]+": unexpected operator")
			}
			continue
		case "-ef", "<", ">", "-nt", "-ot":
			if i < 2 {
				continue
			}
			holds, own := sh.compareFiles(hc, out[i-1], out[i], out[i+1])
			if own {
				out[i-1], out[i], out[i+1] = "x", "=", map[bool]string{true: "x", false: "y"}[holds]
			}
			continue
		default:
			continue
		}
		out[i], out[i+1] = "-n", map[bool]string{true: "1", false: ""}[holds]
	}
	return out
}

// compareFiles evaluates a comparison that the interpreter does not support, or
// that dash evaluates differently: for dash no file is newer than a missing one.
// It reports in own whether it did.
func (sh *shell) compareFiles(hc interp.HandlerContext, left, op, right string) (holds, own bool) {
	a, errA := sh.p.FS.Stat(sh.abs(hc, left))
	b, errB := sh.p.FS.Stat(sh.abs(hc, right))
	both := errA == nil && errB == nil
	switch op {
	case "<":
		return left < right, true
	case ">":
		return left > right, true
	case "-ef":
		return both && a.Ino() == b.Ino(), true
	case "-nt":
		return both && a.ModTime().After(b.ModTime()), sh.dash
	default:
		return both && a.ModTime().Before(b.ModTime()), sh.dash
	}
}

// set removes options without effect here and rejects those dash lacks.
func (sh *shell) set(hc interp.HandlerContext, args []string) []string {
	out := []string{"set"}
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" || arg == "-" || len(arg) < 2 || arg[0] != '-' && arg[0] != '+' {
			return append(out, args[i:]...)
		}
		letters := strings.Map(func(r rune) rune {
			if strings.ContainsRune("EThmbBHk", r) && !sh.dash {
				return -1
			}
			return r
		}, arg[1:])
		if strings.HasSuffix(letters, "o") && i+1 < len(args) {
			i++
			switch option := args[i]; {
			case sh.dash && option == "pipefail":
				return eval(shellQuote(sh.refuse(hc, "set", 2, "Illegal option -o pipefail")...) + "; exit 2")
			case slices.Contains([]string{"errtrace", "functrace", "monitor", "posix", "history", "hashall"}, option):
				letters = strings.TrimSuffix(letters, "o")
			default:
				out = append(out, arg[:1]+"o", option)
				letters = strings.TrimSuffix(letters, "o")
			}
		}
		for _, letter := range letters {
			out = append(out, arg[:1]+string(letter))
		}
	}
	if len(out) == 1 && len(args) > 1 {
		return []string{"true"}
	}
	return out
}

// wait replaces process ids by the interpreter's names for its jobs.
func (sh *shell) wait(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out[1:] {
		if j := sh.job(arg); j != nil && j.alias != "" {
			out[i+1] = j.alias
		}
	}
	return out
}

// echo replaces echo in dash, which interprets backslashes without a flag.
func (sh *shell) echo(args []string) []string {
	if !sh.dash || !slices.ContainsFunc(args[1:], func(s string) bool { return strings.Contains(s, `\`) || s == "-e" }) {
		return args
	}
	format, rest := "%b\n", args[1:]
	if len(rest) > 0 && rest[0] == "-n" {
		format, rest = "%b", rest[1:]
	}
	return []string{internal, "printf", format, strings.Join(rest, " ")}
}

func shellQuote(args ...string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
