package sandbox

import (
	"maps"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"

	"github.com/bakestone-go/bakestone/internal/memfs"
)

// completion are the arguments of compgen.
type completion struct {
	actions, words []string
	glob           string
	prefix, suffix string
	word           string
}

// compgenAction returns the action of a flag of compgen, or "".
func compgenAction(flag string) string {
	return map[string]string{
		"-a": "alias", "-b": "builtin", "-c": "command", "-d": "directory", "-e": "export", "-f": "file", "-g": "group", "-k": "keyword", "-u": "user", "-v": "variable",
	}[flag]
}

// compgen implements the compgen builtin.
func (r *runner) compgen(args []string) {
	var c completion
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		flag := args[0]
		args = args[1:]
		if action := compgenAction(flag); action != "" {
			c.actions = append(c.actions, action)
			continue
		}
		if flag == "--" {
			break
		}
		if len(args) == 0 || !slices.Contains([]string{"-A", "-W", "-G", "-P", "-S"}, flag) {
			r.fail(2, "compgen: %s is not supported by this machine", flag)
			return
		}
		value := args[0]
		args = args[1:]
		switch flag {
		case "-A":
			c.actions = append(c.actions, value)
		case "-W":
			if text, ok := r.expandText(value); ok {
				value = text
			}
			c.words = append(c.words, strings.Fields(value)...)
		case "-G":
			c.glob = value
		case "-P":
			c.prefix = value
		case "-S":
			c.suffix = value
		}
	}
	if len(args) > 0 {
		c.word = args[0]
	}
	r.status = 1
	for _, action := range c.actions {
		all, ok := r.completions(action, c.word)
		if !ok {
			r.fail(2, "compgen: action %s is not supported by this machine", action)
			return
		}
		r.printCompletions(c, all)
	}
	if c.glob != "" {
		r.printCompletions(c, r.glob(c.glob))
	}
	r.printCompletions(c, c.words)
}

func (r *runner) printCompletions(c completion, all []string) {
	for _, name := range all {
		if c.glob != "" || strings.HasPrefix(name, c.word) {
			r.print(c.prefix, name, c.suffix, "\n")
			r.status = 0
		}
	}
}

// completions returns the names of a kind, of which those with the prefix are
// wanted.
func (r *runner) completions(action, prefix string) ([]string, bool) {
	var all []string
	switch action {
	case "alias":
		all = sortedKeys(r.alias)
	case "builtin":
		all = r.builtinNames()
	case "keyword":
		for word := range strings.FieldsSeq("if then else elif fi case esac for select while until do done in function time { } ! [[ ]] coproc") {
			if syntax.IsKeyword(word) {
				all = append(all, word)
			}
		}
	case "function":
		all = slices.Sorted(maps.Keys(r.funcs))
	case "variable":
		all = r.vars.names()
	case "export":
		all = slices.Sorted(maps.Keys(r.environment()))
	case "user":
		for _, u := range users(asRoot(r.p.FS)) {
			all = append(all, u.name)
		}
	case "group":
		for _, g := range groups(asRoot(r.p.FS)) {
			all = append(all, g.name)
		}
	case "file", "directory":
		for _, name := range r.glob(escapePattern(prefix) + "*") {
			info, err := r.p.FS.Stat(r.p.Path(name))
			if action == "file" || err == nil && info.IsDir() {
				all = append(all, name)
			}
		}
	case "command":
		for _, kind := range []string{"alias", "keyword", "function", "builtin"} {
			names, _ := r.completions(kind, prefix)
			all = append(all, names...)
		}
		all = append(all, r.programNames()...)
	default:
		return nil, false
	}
	return all, true
}

func escapePattern(s string) string { return patternOf([]fieldPart{{s, true}}) }

// bashBuiltins are the names of bash's builtins.
const bashBuiltins = ". : [ alias bg bind break builtin caller cd command compgen complete compopt continue declare dirs disown echo enable eval exec exit export " +
	"false fc fg getopts hash help history jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return set shift shopt source " +
	"suspend test times trap true type typeset ulimit umask unalias unset wait"

func (r *runner) builtinNames() []string {
	return slices.DeleteFunc(strings.Fields(bashBuiltins), func(name string) bool { return r.builtin(name) == nil })
}

// programNames returns the names of the programs in $PATH.
func (r *runner) programNames() []string {
	var all []string
	for dir := range strings.SplitSeq(r.get("PATH"), ":") {
		entries, _ := r.p.FS.ReadDir(r.p.Path(dir)) // a missing directory has no programs
		for _, e := range entries {
			if name := path.Join(r.p.Path(dir), e.Name()); r.p.FS.Access(name, memfs.Execute) == nil {
				all = append(all, e.Name())
			}
		}
	}
	return all
}
