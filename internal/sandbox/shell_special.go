package sandbox

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bashVersion is the version that all shells named bash report.
const bashVersion = "5.2.21(1)-release"

func scalar(s string) *variable { return &variable{set: true, str: s} }
func number64(n int64) *variable {
	return scalar(strconv.FormatInt(n, 10))
}

func indexed(all []string) *variable {
	v := &variable{list: make(map[int]string, len(all)), set: len(all) > 0}
	for i, s := range all {
		v.list[i] = s
	}
	return v
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func (r *runner) now() time.Time { return r.p.Host.o.Clock.Now() }

// special returns the value of a variable that the shell computes, or nil.
func (r *runner) special(name string) *variable {
	switch name {
	case "?":
		return number64(int64(r.status))
	case "$":
		return number64(int64(r.pid))
	case "#":
		return number64(int64(len(r.params)))
	case "!":
		if r.lastJob == 0 {
			return nil
		}
		return number64(int64(r.lastJob))
	case "-":
		return scalar(r.optionLetters())
	case "0":
		return scalar(r.arg0)
	case "LINENO":
		return number64(int64(r.line)) //nolint:gosec // a line number
	case "PPID":
		return number64(int64(r.ppid))
	}
	if c := name[0]; c >= '1' && c <= '9' {
		if n, err := strconv.Atoi(name); err == nil {
			if n <= len(r.params) {
				return scalar(r.params[n-1])
			}
			return nil
		}
	}
	if name == "_" && !r.dash {
		return scalar(r.lastArg)
	}
	if r.dash || name[0] < 'A' || name[0] > 'S' {
		return nil
	}
	return r.specialBash(name)
}

// specialBash returns the value of a variable that only bash computes, or nil.
func (r *runner) specialBash(name string) *variable {
	switch name {
	case "BASHPID":
		return number64(int64(r.p.PID))
	case "BASH_ARGV0":
		return scalar(r.arg0)
	case "BASH_SUBSHELL":
		return number64(int64(r.level))
	case "BASH_COMMAND":
		return scalar(r.command())
	case "EPOCHSECONDS":
		return number64(r.now().Unix())
	case "EPOCHREALTIME":
		return scalar(strconv.FormatInt(r.now().Unix(), 10) + "." + padded(r.now().Nanosecond()/1000, 6))
	case "RANDOM":
		if r.seed == 0 {
			return number64(rand.Int64N(32768)) //nolint:gosec // as in bash
		}
		r.seed = uint32(int64(16807) * int64(r.seed) % 2147483647)
		return number64(int64(uint16(r.seed>>16)^uint16(r.seed)) & 32767) //nolint:gosec // as in bash
	case "SRANDOM":
		return number64(int64(rand.Uint32())) //nolint:gosec // as in bash
	case "SECONDS":
		return number64(int64(r.now().Sub(r.started) / time.Second))
	case "PIPESTATUS":
		all := make([]string, len(r.pipeStatus))
		for i, s := range r.pipeStatus {
			all[i] = itoa(s)
		}
		return indexed(all)
	case "FUNCNAME", "BASH_SOURCE", "BASH_LINENO":
		return r.frames(name)
	case "SHELLOPTS":
		return scalar(strings.Join(r.opts.on(), ":"))
	case "BASHOPTS":
		return scalar(strings.Join(slices.Sorted(maps.Keys(r.shopts)), ":"))
	case "DIRSTACK":
		return indexed(append([]string{r.p.Dir}, r.dirs...))
	case "GROUPS":
		return indexed([]string{itoa(r.p.GID)})
	}
	return nil
}

func padded(n, width int) string {
	s := strconv.Itoa(n)
	return strings.Repeat("0", max(0, width-len(s))) + s
}

// A frame is a function call, or a file that is being read.
type frame struct {
	function string // "source" for a sourced file, "main" for the script
	file     string // where the function is defined
	called   uint   // the line of the call
	sourced  bool
}

// frames returns the call stack, the innermost first.
func (r *runner) frames(name string) *variable {
	inFunction := slices.ContainsFunc(r.stack, func(f frame) bool { return f.called > 0 })
	var all []string
	for i, f := range slices.Backward(r.stack) {
		if i == 0 && r.fromString {
			continue
		}
		switch name {
		case "FUNCNAME":
			if !inFunction {
				continue
			}
			all = append(all, f.function)
		case "BASH_SOURCE":
			all = append(all, f.file)
		default:
			all = append(all, strconv.FormatUint(uint64(f.called), 10))
		}
	}
	return indexed(all)
}

// initialize defines the variables a shell starts with.
func (r *runner) initialize() {
	global := r.vars
	define := func(name, value string) *variable {
		v := &variable{owner: r.token, set: true, str: value}
		global.vars[name] = v
		return v
	}
	for name, value := range r.p.Env {
		if f, ok := strings.CutPrefix(name, "BASH_FUNC_"); ok && !r.dash {
			r.importFunction(strings.TrimSuffix(f, "%%"), value)
			continue
		}
		if validName(name) {
			define(name, value).exported = true
		}
	}
	if r.lastArg = r.p.Env["_"]; r.lastArg == "" {
		r.lastArg = "/usr/bin/bash"
	}
	define("IFS", " \t\n")
	define("OPTIND", "1")
	if pwd := global.vars["PWD"]; pwd == nil || !r.sameDir(pwd.str) {
		v := define("PWD", r.p.Dir)
		v.exported = !r.dash
	}
	if _, ok := r.p.Env["PATH"]; !ok {
		define("PATH", defaultPath)
	}
	define("PS4", "+ ")
	if r.fromString && !r.dash {
		define("BASH_EXECUTION_STRING", r.commandText)
	}
	if r.dash {
		define("PS1", map[bool]string{true: "# ", false: "$ "}[r.p.UID == 0])
		define("PS2", "> ")
		return
	}
	level, _ := strconv.Atoi(r.p.Env["SHLVL"])
	define("SHLVL", itoa(level+1)).exported = true
	machine := r.p.Host.o.Facts.Arch
	for _, v := range []*variable{define("UID", itoa(r.p.UID)), define("EUID", itoa(r.p.UID))} {
		v.readOnly, v.integer = true, true
	}
	for name, value := range map[string]string{
		"BASH": "/bin/bash", "BASH_VERSION": bashVersion, "HOSTNAME": r.p.Host.hostname(), "HOSTTYPE": machine,
		"MACHTYPE": machine + "-pc-linux-gnu", "OSTYPE": "linux-gnu", "OPTERR": "1",
	} {
		if _, ok := global.vars[name]; !ok {
			define(name, value)
		}
	}
	info := indexed([]string{"5", "2", "21", "1", "release", machine + "-pc-linux-gnu"})
	info.owner, info.readOnly = r.token, true
	global.vars["BASH_VERSINFO"] = info
}
