package sandbox

import (
	"io/fs"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
)

// hidden is the prefix of variables that hold state of the sandbox which must be
// local to a subshell.
const (
	hidden      = "__BAKESTONE_"
	hiddenUmask = hidden + "UMASK"
	hiddenJob   = hidden + "JOB"
	hiddenLast  = hidden + "LAST"
)

// environ is the initial environment of a shell. It defines all variables that
// the interpreter would otherwise take from the real computer.
type environ struct {
	p     *Process
	ready bool // the interpreter is initialized
}

var _ expand.Environ = (*environ)(nil)

func (e *environ) Get(name string) expand.Variable {
	if user, ok := strings.CutPrefix(name, "HOME "); ok {
		if u, known := lookupUser(e.p.FS, user); known {
			return variable(u.home, false)
		}
		return variable("~"+user, false)
	}
	if value, ok := e.p.Env[name]; ok && (e.ready || name != "TMPDIR") {
		return variable(value, true)
	}
	switch name {
	case "UID", "EUID":
		return readOnly(strconv.Itoa(e.p.UID))
	case "GID":
		return readOnly(strconv.Itoa(e.p.GID))
	case "PPID":
		return readOnly(strconv.Itoa(e.p.parent))
	case "HOSTNAME":
		return variable(e.p.Host.hostname(), false)
	}
	if !e.ready {
		switch name {
		case "TMPDIR":
			// Prevents the interpreter from creating named pipes.
			return variable("/dev/null/pipes", false)
		case "HOME":
			return variable("", false)
		}
	}
	return expand.Variable{}
}

func (e *environ) Each(yield func(string, expand.Variable) bool) {
	for name, value := range e.p.Env {
		if !yield(name, variable(value, true)) {
			return
		}
	}
}

func variable(value string, exported bool) expand.Variable {
	return expand.Variable{Set: true, Kind: expand.String, Str: value, Exported: exported}
}

func readOnly(value string) expand.Variable {
	v := variable(value, false)
	v.ReadOnly = true
	return v
}

// exported returns the environment for a command started by a shell.
func exported(env expand.Environ) map[string]string {
	all := map[string]string{}
	for name, v := range env.Each {
		if v.IsSet() && v.Exported && v.Kind == expand.String && !strings.HasPrefix(name, hidden) {
			all[name] = v.String()
		} else {
			delete(all, name)
		}
	}
	return all
}

// umask returns the umask of the calling subshell.
func (sh *shell) umask(hc interp.HandlerContext) fs.FileMode {
	if v := hc.Env.Get(hiddenUmask); v.IsSet() {
		if bits, err := strconv.ParseUint(v.String(), 8, 12); err == nil {
			return fs.FileMode(bits)
		}
	}
	return sh.p.Umask
}
