package sandbox

import (
	"maps"
	"strings"
)

// limitTable has the lines of ulimit -a, as on a server of a cloud: the flag, the
// value at first, and the name. The limits are kept and inherited, but not
// enforced: those of the machine are its own.
const limitTable = `R unlimited real-time non-blocking time  (microseconds, -R)
c 0 core file size              (blocks, -c)
d unlimited data seg size               (kbytes, -d)
e 0 scheduling priority                 (-e)
f unlimited file size                   (blocks, -f)
i 15394 pending signals                     (-i)
l 8192 max locked memory           (kbytes, -l)
m unlimited max memory size             (kbytes, -m)
n 1024 open files                          (-n)
p 8 pipe size                (512 bytes, -p)
q 819200 POSIX message queues         (bytes, -q)
r 0 real-time priority                  (-r)
s 8192 stack size                  (kbytes, -s)
t unlimited cpu time                   (seconds, -t)
u 15394 max user processes                  (-u)
v unlimited virtual memory              (kbytes, -v)
x unlimited file locks                          (-x)`

// ulimit implements the ulimit builtin.
func (r *runner) ulimit(args []string) {
	kinds, flag, all, value := "SH", "f", false, ""
	for _, arg := range args[1:] {
		flags, ok := strings.CutPrefix(arg, "-")
		if !ok {
			value = arg
			continue
		}
		for _, c := range flags {
			switch {
			case c == 'S' || c == 'H':
				kinds = string(c)
			case c == 'a':
				all = true
			case limitOf(string(c)) == "":
				r.fail(2, "ulimit: -%c: invalid option", c)
				return
			default:
				flag = string(c)
			}
		}
	}
	get := func(flag string) string {
		set := r.p.limits[kinds[:1]+flag]
		hard := map[string]string{"n": "524288", "s": "unlimited", "c": "unlimited"}[flag]
		switch {
		case set != "":
			return set
		case kinds == "H" && hard != "":
			return hard
		}
		return limitOf(flag)
	}
	switch {
	case all:
		for line := range strings.SplitSeq(limitTable, "\n") {
			flag, rest, _ := strings.Cut(line, " ")
			_, name, _ := strings.Cut(rest, " ")
			r.print(name, " ", get(flag), "\n")
		}
	case value == "":
		r.print(get(flag), "\n")
	default:
		if _, ok := number(value); !ok && value != "unlimited" && value != "hard" && value != "soft" {
			r.fail(1, "ulimit: %s: invalid number", value)
			return
		}
		limits := maps.Clone(r.p.limits)
		if limits == nil {
			limits = map[string]string{}
		}
		for _, kind := range kinds {
			limits[string(kind)+flag] = value
		}
		r.p.limits = limits
	}
}

// limitOf returns the first value of the limit with a flag, or "" if there is none.
func limitOf(flag string) string {
	for line := range strings.SplitSeq(limitTable, "\n") {
		if f := strings.Fields(line); f[0] == flag {
			return f[1]
		}
	}
	return ""
}
