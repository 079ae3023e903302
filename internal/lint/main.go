// Command lint checks the rules of this repository that go vet and golangci-lint
// do not know: the names and lengths of files, package comments, leftovers,
// go.mod and the changelog, assertions of concrete types, and plain English.
//
//	go run ./internal/lint
//
// It prints one line per finding and exits with status 1 if there are any.
// Symbolic links, testdata and directories whose names begin with a dot are
// skipped.
//
// # Assertions of concrete types
//
// The packages below bake, provision, ec2 and amicleanup must find what a value
// can do by its methods, so that pointers and wrappers keep it. An assertion of
// a pointer, or of a type of this module that is not an interface, needs a
// reason on the same line or on the line before:
//
//	key, ok := pub.(*ssh.Certificate) //lint:concrete package ssh returns nothing else
//
// The result of ctx.Value is exempt, since only the package that stored a value
// can read it.
//
// # Language
//
// Comments and messages are searched for a few unmistakable marks of stiff
// English. The file limits.txt lists the packages that still have some. A count
// may only fall: a package above its limit is a finding, and so is a limit above
// its package's count. This writes the current counts, once they are lower:
//
//	go run ./internal/lint -update
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	update := flag.Bool("update", false, "write the current counts to "+limitsFile)
	flag.Parse()
	found, err := lint(".", *update, os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	case found > 0:
		fmt.Fprintf(os.Stderr, "lint: %d findings\n", found)
		os.Exit(1)
	}
}

// A finding is a place that breaks a rule.
type finding struct {
	file string // relative to the root, with slashes
	line int    // zero for the whole file
	text string
}

func (f finding) String() string {
	if f.line == 0 {
		return f.file + ": " + f.text
	}
	return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.text)
}

// lint checks the module at root, prints its findings to out and returns their
// number.
func lint(root string, update bool, out io.Writer) (int, error) {
	m, err := load(root)
	if err != nil {
		return 0, err
	}
	counts := m.language()
	if update {
		if err := writeLimits(filepath.Join(root, limitsFile), counts); err != nil {
			return 0, err
		}
	}
	limits, err := readLimits(filepath.Join(root, limitsFile))
	if err != nil {
		return 0, err
	}
	var all []finding
	for _, rule := range []func() []finding{m.fileNames, m.fileLengths, m.packageComments, m.leftovers, m.goMod, m.changelog, m.assertions} {
		all = append(all, rule()...)
	}
	all = append(all, compare(counts, limits)...)
	for _, f := range all {
		fmt.Fprintln(out, f)
	}
	return len(all), nil
}
