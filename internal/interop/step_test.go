package interop_test

import (
	"slices"
	"strings"
)

// A step is a command line of the client.
type step struct {
	name string

	// args are the arguments. $name stands for a captured value, and $$ for $.
	args []string

	// capture maps names to paths in the response. Later steps can use the values
	// there by these names.
	capture map[string]string

	// until maps paths in the response to values. The step is repeated until the
	// response has them, and only the last response is compared.
	until map[string]string
}

// run returns a step that runs a command line. Its arguments are separated by
// spaces.
func run(name, line string) step { return step{name: name, args: strings.Fields(line)} }

// save returns s with captured values, given as alternating names and paths.
func (s step) save(pairs ...string) step {
	s.capture = pairsOf(pairs)
	return s
}

// waitFor returns s with values to wait for, given as alternating paths and
// values.
func (s step) waitFor(pairs ...string) step {
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
