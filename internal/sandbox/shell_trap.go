package sandbox

import (
	"slices"
	"strings"
	"sync"
)

// signals are those that arrived for a shell that traps them.
type signals struct {
	notify chan struct{} // holds one while there are any

	mu  sync.Mutex
	all []signal // guarded by mu
}

func newSignals() *signals { return &signals{notify: make(chan struct{}, 1)} }

func (s *signals) add(sig signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, sig)
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

func (s *signals) take() []signal {
	select {
	case <-s.notify:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// installTraps tells the process table which signals the shell handles.
func (r *runner) installTraps() {
	handled := map[signal]bool{}
	for name, text := range r.traps {
		if sig, ok := parseSignal(name); ok && sig != "" {
			handled[sig] = text != ""
		}
	}
	if len(handled) == 0 {
		r.p.Host.table.setTrap(r.p.PID, nil)
		return
	}
	pending := r.pending
	r.p.Host.table.setTrap(r.p.PID, func(sig signal) bool {
		runs, known := handled[sig]
		if runs {
			pending.add(sig)
		}
		return known
	})
}

// runPending runs the traps of signals that arrived.
func (r *runner) runPending() {
	if r.inTrap {
		return
	}
	for _, sig := range r.pending.take() {
		if text := r.traps[string(sig)]; text != "" {
			status := r.status
			r.evalTrap(text)
			if r.flow != flowNext {
				return
			}
			r.status = status
		}
	}
}

func (r *runner) evalTrap(text string) {
	inTrap, node, line, trapStack := r.inTrap, r.node, r.line, r.trapStack
	r.inTrap, r.trapStack = true, len(r.stack)
	r.eval(text, "trap")
	r.inTrap, r.trapStack = inTrap, trapStack
	r.node, r.line = node, line
}

// debug runs the DEBUG trap before a command.
func (r *runner) debug() {
	text := r.traps["DEBUG"]
	if text == "" || r.inTrap || r.inFunction() && !r.opts.functrace {
		return
	}
	status := r.status
	r.evalTrap(text)
	if r.flow == flowNext {
		r.status = status
	}
}

// trap implements the trap builtin.
func (r *runner) trap(args []string) {
	args = args[1:]
	if len(args) > 0 && (args[0] == "-l" || args[0] == "-p") {
		if args[0] == "-l" {
			r.print(signalList())
			return
		}
		r.printTraps(args[1:])
		return
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		r.printTraps(nil)
		return
	}
	r.shown = nil
	action, names := args[0], args[1:]
	if _, ok := trapName(action); ok && len(names) == 0 || isNumber(action) {
		names, action = args, "-"
	}
	for _, name := range names {
		known, ok := trapName(name)
		if !ok || r.dash && (known == "ERR" || known == "DEBUG" || known == "RETURN") {
			if r.dash {
				r.fail(1, "trap: %s: bad trap", name)
			} else {
				r.fail(1, "trap: %s: invalid signal specification", name)
			}
			continue
		}
		if action == "-" {
			delete(r.traps, known)
		} else {
			r.traps[known] = action
		}
	}
	r.installTraps()
}

func isNumber(s string) bool {
	_, ok := number(s)
	return ok
}

// trapName returns the canonical name of a trap.
func trapName(name string) (string, bool) {
	name = strings.TrimPrefix(strings.ToUpper(name), "SIG")
	switch name {
	case "0", "EXIT":
		return "EXIT", true
	case "ERR", "DEBUG", "RETURN":
		return name, true
	}
	sig, ok := parseSignal(name)
	return string(sig), ok && sig != ""
}

func (r *runner) printTraps(names []string) {
	traps := r.traps
	if r.shown != nil && !r.dash {
		traps = r.shown
	}
	for i, name := range names {
		names[i], _ = trapName(name)
	}
	for name := range strings.FieldsSeq("EXIT " + signalNames + " DEBUG ERR RETURN") {
		text, ok := traps[name]
		if !ok || len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		if _, sig := parseSignal(name); sig && !r.dash {
			name = "SIG" + name
		}
		r.print("trap -- ", shellQuote(text), " ", name, "\n")
	}
}

func shellQuote(args ...string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
