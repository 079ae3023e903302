package sandbox

import (
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// wait implements wait with -n and -f.
func (r *runner) wait(args []string) {
	args = args[1:]
	next, name := false, ""
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-n":
			next = true
		case "-f", "--":
		case "-p":
			if len(args) > 1 {
				name = args[1]
				args = args[1:]
			}
		default:
			r.fail(2, "wait: %s: invalid option", args[0])
			return
		}
		args = args[1:]
	}
	switch {
	case next:
		r.waitNext(name)
	case len(args) == 0:
		for _, j := range r.jobs {
			if !r.await(j.done) {
				r.interrupted()
				return
			}
			j.waited = true
		}
		r.jobs = nil
	default:
		for _, arg := range args {
			j := r.job(arg)
			if j == nil {
				if !r.dash || !strings.HasPrefix(arg, "%") {
					if !r.dash {
						r.errorf("wait: pid %s is not a child of this shell", arg)
					}
				}
				r.status = 127
				continue
			}
			if !r.await(j.done) {
				r.interrupted()
				return
			}
			j.waited = true
			r.status = j.status
		}
	}
}

// interrupted sets the status of a wait that a trapped signal ended.
func (r *runner) interrupted() {
	r.pending.mu.Lock()
	if len(r.pending.all) > 0 {
		r.status = r.pending.all[0].status()
	}
	r.pending.mu.Unlock()
	select { // await took the notification
	case r.pending.notify <- struct{}{}:
	default:
	}
}

func (r *runner) waitNext(name string) {
	r.jobs = slices.DeleteFunc(r.jobs, func(j *job) bool { return j.waited })
	if len(r.jobs) == 0 {
		r.status = 127
		return
	}
	any := make(chan *job, len(r.jobs))
	for _, j := range r.jobs {
		if j.ended() {
			any <- j
			break
		}
	}
	if len(any) == 0 {
		stop := make(chan struct{})
		defer close(stop)
		for _, j := range r.jobs {
			r.p.Host.outlive(r.ctx, func() {
				select {
				case <-j.done:
					any <- j
				case <-stop:
				}
			})
		}
	}
	select {
	case j := <-any:
		j.waited = true
		r.status = j.status
		if name != "" {
			r.assign(name, itoa(j.pid))
		}
	case <-r.ctx.Done():
	case <-r.pending.notify:
		r.interrupted()
	}
}

// job returns the job that a process id or %n names.
func (r *runner) job(arg string) *job {
	if spec, ok := strings.CutPrefix(arg, "%"); ok {
		n, err := strconv.Atoi(spec)
		switch {
		case err == nil && n >= 1 && n <= len(r.jobs):
			return r.jobs[n-1]
		case (spec == "" || spec == "%" || spec == "+") && len(r.jobs) > 0:
			return r.jobs[len(r.jobs)-1]
		}
		return nil
	}
	for _, j := range slices.Backward(r.jobs) {
		if itoa(j.pid) == arg {
			return j
		}
	}
	return nil
}

// jobControl implements jobs, fg, bg and disown.
func (r *runner) jobControl(args []string) {
	switch args[0] {
	case "jobs":
		for i, j := range append(slices.Clone(r.inherited), r.jobs...) {
			switch {
			case slices.Contains(args, "-p"):
				if !j.ended() {
					r.print(itoa(j.pid), "\n")
				}
			case j.ended() && j.status == 0:
				r.print("[", itoa(i+1), "]+  Done                    ", j.text, "\n")
			case j.ended():
				r.print("[", itoa(i+1), "]+  Exit ", itoa(j.status), "                  ", j.text, "\n")
			default:
				r.print("[", itoa(i+1), "]+  Running                 ", j.text, " &\n")
			}
		}
	case "disown":
	default:
		r.fail(1, "%s: no job control", args[0])
	}
}

// kill implements the kill builtin, which also takes jobs.
func (r *runner) kill(args []string) {
	args = slices.Clone(args)
	for i, arg := range args {
		if j := r.job(arg); strings.HasPrefix(arg, "%") && j != nil {
			args[i] = itoa(j.pid)
		}
	}
	if len(args) > 1 && args[1] == "-l" {
		r.status = r.listSignals(args[2:])
		return
	}
	r.status = kill(r.ctx, r.goProcess(args))
}

func (r *runner) listSignals(args []string) int {
	for _, arg := range args {
		n, ok := number(arg)
		if sig, known := parseSignal(arg); known && sig != "" {
			if ok {
				r.print(string(sig), "\n")
			} else {
				r.print(itoa(sig.number()), "\n")
			}
			continue
		}
		if sig, known := parseSignal(itoa(n - 128)); ok && known && sig != "" {
			r.print(string(sig), "\n")
			continue
		}
		r.errorf("kill: %s: invalid signal specification", arg)
		return 1
	}
	return 0
}

// getopts implements the getopts builtin.
func (r *runner) getopts(args []string) {
	if len(args) < 3 {
		r.fail(2, "getopts: usage: getopts optstring name [arg ...]")
		return
	}
	spec, name := args[1], args[2]
	words := args[3:]
	if len(args) == 3 {
		words = r.params
	}
	silent := strings.HasPrefix(spec, ":")
	quiet := silent || r.get("OPTERR") == "0"
	spec = strings.TrimPrefix(spec, ":")
	index, _ := strconv.Atoi(r.get("OPTIND"))
	index = max(index, 1)
	pos := r.optPos
	end := func() {
		r.assign("OPTIND", itoa(index))
		r.optPos = 0
		r.assign(name, "?")
		r.unset("OPTARG")
		r.status = 1
	}
	if index > len(words) {
		end()
		return
	}
	word := words[index-1]
	if pos == 0 {
		if len(word) < 2 || word[0] != '-' {
			end()
			return
		}
		if word == "--" {
			index++
			end()
			return
		}
		pos = 1
	}
	pos = min(pos, len(word)-1)
	letter := word[pos : pos+1]
	pos++
	at := strings.Index(spec, letter)
	next := func() {
		if pos >= len(word) {
			index, pos = index+1, 0
		}
	}
	r.unset("OPTARG")
	switch {
	case at < 0 || letter == ":":
		next()
		r.assign(name, "?")
		if silent {
			r.assign("OPTARG", letter)
		} else if !quiet {
			if r.dash {
				r.errf("Illegal option -%s\n", letter)
			} else {
				r.errf("%s: illegal option -- %s\n", r.arg0, letter)
			}
		}
	case at+1 < len(spec) && spec[at+1] == ':':
		switch {
		case pos < len(word):
			r.assign("OPTARG", word[pos:])
			r.assign(name, letter)
			index++
		case index < len(words):
			r.assign("OPTARG", words[index])
			r.assign(name, letter)
			index += 2
		default:
			index++
			if silent {
				r.assign(name, ":")
				r.assign("OPTARG", letter)
			} else {
				r.assign(name, "?")
				if !quiet {
					if r.dash {
						r.errf("No arg for -%s option\n", letter)
					} else {
						r.errf("%s: option requires an argument -- %s\n", r.arg0, letter)
					}
				}
			}
		}
		pos = 0
	default:
		next()
		r.assign(name, letter)
	}
	r.assign("OPTIND", itoa(index))
	r.optPos = pos
}

// aliases implements alias and unalias.
func (r *runner) aliases(args []string) {
	if args[0] == "unalias" {
		for _, name := range args[1:] {
			if name == "-a" {
				clear(r.alias)
			} else if _, ok := r.alias[name]; !ok {
				r.fail(1, "unalias: %s: not found", name)
			}
			delete(r.alias, name)
		}
		return
	}
	show := func(name string) {
		if !r.dash {
			r.print("alias ")
		}
		r.print(name, "=", shellQuote(r.alias[name]), "\n")
	}
	if len(args) == 1 {
		for _, name := range sortedKeys(r.alias) {
			show(name)
		}
	}
	for _, arg := range args[1:] {
		name, text, set := strings.Cut(arg, "=")
		switch _, ok := r.alias[name]; {
		case set:
			r.alias[name] = text
		case ok:
			show(name)
		default:
			r.fail(1, "alias: %s: not found", name)
		}
	}
}

func sortedKeys(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// commandBuiltin implements command, type and hash.
func (r *runner) commandBuiltin(args []string) {
	how, flags := args[0], ""
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flags += args[0][1:]
		args = args[1:]
		if strings.HasSuffix(flags, "-") {
			break
		}
	}
	if how == "command" && !strings.ContainsAny(flags, "vV") {
		if len(args) > 0 {
			r.withoutFunctions(args)
		}
		return
	}
	if how == "hash" && strings.ContainsAny(flags, "rdlt") {
		return
	}
	for _, name := range args {
		if !r.describe(how, flags, name) {
			r.status = 1
			if how == "command" && r.dash || how == "type" && r.dash {
				r.status = 127
			}
		}
	}
}

// withoutFunctions runs a builtin or a program although a function has its name.
// Errors of special builtins do not end the shell.
func (r *runner) withoutFunctions(args []string) {
	if b := r.builtin(args[0]); b != nil {
		b(r, args)
		return
	}
	r.program(args)
}

// describe says what a name runs.
func (r *runner) describe(how, flags, name string) bool {
	kind, where := "", ""
	f := r.funcs[name]
	switch {
	case strings.ContainsAny(flags, "P"):
		where = r.whichFile(name)
	case r.alias[name] != "" && (r.dash || r.shopts["expand_aliases"]):
		kind = "alias"
	case syntax.IsKeyword(name) && !(r.dash && (name == "[[" || name == "]]" || name == "function" || name == "select" || name == "time" || name == "coproc")):
		kind = "keyword"
	case f != nil && !strings.Contains(flags, "f"):
		kind = "function"
	case r.builtin(name) != nil:
		kind = "builtin"
	default:
		where = r.whichFile(name)
	}
	if where != "" {
		kind = "file"
	}
	short := how == "command" && strings.Contains(flags, "v")
	switch {
	case kind == "":
		if !short && !strings.ContainsAny(flags, "tpP") {
			if r.dash {
				r.errf("%s: not found\n", name)
			} else {
				r.errorf("%s: %s: not found", how, name)
			}
		}
		return false
	case how == "hash":
	case strings.Contains(flags, "t"):
		r.print(kind, "\n")
	case strings.ContainsAny(flags, "pP"):
		if where != "" {
			r.print(where, "\n")
		}
	case short && kind == "alias":
		r.print("alias ", name, "=", shellQuote(r.alias[name]), "\n")
	case short && where != "":
		r.print(where, "\n")
	case short:
		r.print(name, "\n")
	case kind == "file":
		r.print(name, " is ", where, "\n")
	case kind == "function" && !r.dash:
		r.print(name, " is a function\n", functionText(f))
	case kind == "function":
		r.print(name, " is a shell function\n")
	case kind == "alias":
		r.print(name, " is aliased to `", r.alias[name], "'\n")
	case kind == "builtin" && r.dash && specialBuiltin(name):
		r.print(name, " is a special shell builtin\n")
	default:
		r.print(name, " is a shell ", kind, "\n")
	}
	return true
}

// whichFile returns the path of a program, or "".
func (r *runner) whichFile(name string) string {
	p := r.goProcess([]string{name})
	if strings.Contains(name, "/") {
		if _, problem := p.load(p.Path(name), 0); problem == nil {
			return name
		}
		return ""
	}
	if file, problem := p.which(name); problem == nil {
		return file
	}
	return ""
}

// caller implements the caller builtin.
func (r *runner) caller(args []string) {
	n := 0
	if len(args) > 1 {
		n, _ = strconv.Atoi(args[1])
	}
	at := len(r.stack) - 1 - n
	if at < 1 {
		r.status = 1
		return
	}
	line := strconv.FormatUint(uint64(r.stack[at].called), 10)
	if len(args) == 1 {
		r.print(line, " ", r.stack[at-1].file, "\n")
		return
	}
	r.print(line, " ", r.stack[at-1].function, " ", r.stack[at-1].file, "\n")
}

// compgen supports the lists of names that scripts ask for.
func (r *runner) compgen(args []string) {
	var all []string
	prefix := ""
	if len(args) > 2 {
		prefix = args[2]
	}
	switch {
	case len(args) > 1 && args[1] == "-v":
		all = r.vars.names()
	case len(args) > 1 && args[1] == "-A" && prefix == "function":
		prefix = ""
		if len(args) > 3 {
			prefix = args[3]
		}
		for name := range r.funcs {
			all = append(all, name)
		}
		slices.Sort(all)
	case len(args) > 1 && args[1] == "-G":
		all, prefix = r.glob(prefix), ""
	default:
		r.fail(2, "compgen: only -v, -G and -A function are supported by this machine")
		return
	}
	r.status = 1
	for _, name := range all {
		if strings.HasPrefix(name, prefix) {
			r.print(name, "\n")
			r.status = 0
		}
	}
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
	limit, ok := map[string]string{
		"-n": "1024", "-u": "15000", "-s": "8192", "-c": "0", "-f": "unlimited", "-v": "unlimited", "-l": "8192", "-m": "unlimited", "-t": "unlimited", "-d": "unlimited",
	}[flag]
	if !ok {
		return p.fail(2, "%s: invalid option", flag)
	}
	p.print(limit, "\n")
	return 0
}
