package sandbox

import (
	"maps"
	"slices"
	"strings"
)

// shellOptions are the options of set.
type shellOptions struct {
	nobraces, nohash, monitor bool // -B and -h are on at first

	allexport, errexit, errtrace, functrace, noclobber, noexec, noglob, nounset, pipefail, xtrace, verbose bool
}

// option returns an option by its name, or nil.
func (o *shellOptions) option(name string) *bool {
	switch name {
	case "allexport":
		return &o.allexport
	case "monitor":
		return &o.monitor
	case "errexit":
		return &o.errexit
	case "errtrace":
		return &o.errtrace
	case "functrace":
		return &o.functrace
	case "noclobber":
		return &o.noclobber
	case "noexec":
		return &o.noexec
	case "noglob":
		return &o.noglob
	case "nounset":
		return &o.nounset
	case "pipefail":
		return &o.pipefail
	case "xtrace":
		return &o.xtrace
	case "verbose":
		return &o.verbose
	}
	return nil
}

const optionNames = "allexport errexit errtrace functrace monitor noclobber noexec noglob nounset pipefail verbose xtrace"

func (o *shellOptions) on() []string {
	all := []string{"interactive-comments"}
	if !o.nobraces {
		all = append(all, "braceexpand")
	}
	if !o.nohash {
		all = append(all, "hashall")
	}
	for name := range strings.FieldsSeq(optionNames) {
		if *o.option(name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func optionName(letter rune) string {
	return map[rune]string{
		'a': "allexport", 'e': "errexit", 'E': "errtrace", 'T': "functrace", 'C': "noclobber", 'n': "noexec", 'f': "noglob",
		'm': "monitor", 'u': "nounset", 'x': "xtrace", 'v': "verbose",
	}[letter]
}

// optionLetters returns $-.
func (r *runner) optionLetters() string {
	var b strings.Builder
	for _, c := range "aefhmnuvxBCET" {
		switch name := optionName(c); {
		case c == 'h' || c == 'B':
			if !r.dash && (c == 'h' && !r.opts.nohash || c == 'B' && !r.opts.nobraces) {
				b.WriteRune(c)
			}
		case name != "" && *r.opts.option(name):
			b.WriteRune(c)
		}
	}
	switch {
	case r.fromString && !r.dash:
		b.WriteByte('c')
	case r.stdin:
		b.WriteByte('s')
	}
	return b.String()
}

// setOptions applies the options a shell is called with.
func (r *runner) setOptions(args []string) int {
	if len(args) > 0 {
		r.set(append([]string{"set"}, args...))
	}
	return r.status
}

// set implements the set builtin.
func (r *runner) set(args []string) {
	args = args[1:]
	if len(args) == 0 {
		r.printVariables()
		return
	}
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			r.params, r.paramsSet = args[1:], true
			return
		}
		if arg == "-" {
			r.opts.xtrace, r.opts.verbose = false, false
			if len(args) > 1 {
				r.params, r.paramsSet = args[1:], true
			}
			return
		}
		if len(arg) < 2 || arg[0] != '-' && arg[0] != '+' {
			r.params, r.paramsSet = args, true
			return
		}
		args = args[1:]
		on := arg[0] == '-'
		for _, c := range arg[1:] {
			if c == 'o' {
				if len(args) == 0 {
					r.printOptions(on)
					continue
				}
				name := args[0]
				args = args[1:]
				if !r.setOption(name, on) {
					return
				}
				continue
			}
			name := optionName(c)
			switch {
			case !r.dash && (c == 'h' || c == 'B'):
				r.setOption(map[rune]string{'h': "hashall", 'B': "braceexpand"}[c], on)
				continue
			case name == "" && strings.ContainsRune("hbBHkpPtI", c) && (!r.dash || strings.ContainsRune("hbI", c)), r.dash && c == 'E':
				continue // no effect here
			}
			if name == "" || r.dash && c == 'T' {
				if r.dash {
					r.errorf("set: Illegal option -%c", c)
					r.exit(2)
					return
				}
				r.fail(2, "set: -%c: invalid option", c)
				return
			}
			*r.opts.option(name) = on
		}
	}
}

func (r *runner) setOption(name string, on bool) bool {
	switch name {
	case "braceexpand", "hashall":
		if !r.dash {
			*map[string]*bool{"braceexpand": &r.opts.nobraces, "hashall": &r.opts.nohash}[name] = !on
			return true
		}
	case "posix", "history", "histexpand", "emacs", "vi", "interactive-comments", "physical", "privileged", "notify", "ignoreeof", "keyword", "nolog", "onecmd":
		if !r.dash || name != "posix" {
			return true
		}
	}
	o := r.opts.option(name)
	if o == nil || r.dash && (name == "pipefail" || name == "errtrace" || name == "functrace") {
		if r.dash {
			r.errorf("set: Illegal option -o %s", name)
			r.exit(2)
			return false
		}
		r.fail(2, "set: %s: invalid option name", name)
		return false
	}
	*o = on
	return true
}

func (r *runner) printOptions(readable bool) {
	for name := range strings.FieldsSeq(optionNames) {
		on := *r.opts.option(name)
		if !readable {
			r.print("set ", map[bool]string{true: "-o ", false: "+o "}[on], name, "\n")
			continue
		}
		r.print(name, strings.Repeat(" ", 15-len(name)), "\t", map[bool]string{true: "on", false: "off"}[on], "\n")
	}
}

func (r *runner) printVariables() {
	for _, name := range r.vars.names() {
		v := r.lookup(name)
		switch {
		case v.isArray():
			_, text, _ := strings.Cut(r.declaration(name, v), name+"=")
			r.print(name, "=", text, "\n")
		case r.dash:
			r.print(name, "=", shellQuote(v.str), "\n")
		default:
			r.print(name, "=", traceQuote(v.str), "\n")
		}
	}
}

func defaultShopts() map[string]bool {
	all := map[string]bool{}
	for _, name := range []string{
		"checkwinsize", "cmdhist", "complete_fullquote", "extquote", "force_fignore", "globasciiranges", "globskipdots", "hostcomplete",
		"interactive_comments", "patsub_replacement", "progcomp", "promptvars", "sourcepath",
	} {
		all[name] = true
	}
	return all
}

// shoptNames lists the options of shopt that exist. Those in shoptRefused change
// what this shell does not implement.
const (
	shoptNames = " autocd assoc_expand_once cdable_vars cdspell checkhash checkjobs checkwinsize cmdhist complete_fullquote direxpand dirspell dotglob " +
		"execfail expand_aliases extdebug extglob extquote failglob force_fignore globasciiranges globskipdots globstar gnu_errfmt histappend " +
		"histreedit histverify hostcomplete huponexit inherit_errexit interactive_comments lastpipe lithist localvar_inherit " +
		"localvar_unset login_shell mailwarn no_empty_cmd_completion nocaseglob nocasematch nullglob patsub_replacement progcomp " +
		"progcomp_alias promptvars restricted_shell shift_verbose sourcepath xpg_echo compat50 compat44 "
	shoptRefused = " extdebug execfail localvar_inherit localvar_unset "
)

// shopt implements the shopt builtin.
func (r *runner) shopt(args []string) {
	args = args[1:]
	count := 0
	for count < len(args) && strings.HasPrefix(args[count], "-") {
		count++
	}
	flags := strings.Join(args[:count], "")
	args = args[count:]
	set, unset := strings.Contains(flags, "s"), strings.Contains(flags, "u")
	if strings.Contains(flags, "o") {
		for _, name := range args {
			if set || unset {
				r.setOption(name, set)
			} else if o := r.opts.option(name); o == nil || !*o {
				r.status = 1
			}
		}
		return
	}
	if len(args) == 0 {
		args = slices.Sorted(maps.Keys(r.shopts))
		if !set {
			args = strings.Fields(shoptNames)
		}
		set, unset = false, false
	}
	for _, name := range args {
		switch on := r.shopts[name]; {
		case !strings.Contains(shoptNames, " "+name+" "):
			r.fail(1, "shopt: %s: invalid shell option name", name)
		case set && strings.Contains(shoptRefused, " "+name+" "):
			r.fail(1, "shopt: %s is not supported by this machine", name)
		case set:
			r.shopts[name] = true
		case unset:
			delete(r.shopts, name)
		default:
			if !on {
				r.status = 1
			}
			if !strings.Contains(flags, "q") {
				r.print(name, strings.Repeat(" ", max(0, 15-len(name))), "\t", map[bool]string{true: "on", false: "off"}[on], "\n")
			}
		}
	}
}
