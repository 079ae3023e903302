package sandbox

import (
	"strconv"
	"strings"
)

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
