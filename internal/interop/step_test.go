package interop_test

import (
	"slices"
	"strings"
)

// A step is one command line of the client.
type step struct {
	name string

	// args are the arguments. $name stands for a captured value, and $$ for $.
	args []string

	// capture takes values out of the answer, by path, for the steps after it.
	capture map[string]string

	// until repeats the step until the value at a path is this one, since
	// either EC2 may take its time. Only the last answer is compared.
	until map[string]string
}

// does is a step whose arguments have no spaces.
func does(name, line string) step { return step{name: name, args: strings.Fields(line)} }

// keeps takes values out of the answer: names and paths in turn.
func (s step) keeps(pairs ...string) step {
	s.capture = pairsOf(pairs)
	return s
}

// awaits repeats the step until paths have values, in turn.
func (s step) awaits(pairs ...string) step {
	s.until = pairsOf(pairs)
	return s
}

func pairsOf(list []string) map[string]string {
	m := make(map[string]string, len(list)/2)
	for pair := range slices.Chunk(list, 2) {
		m[pair[0]] = pair[1]
	}
	return m
}
