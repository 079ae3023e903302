package check

import (
	"fmt"
	"strings"
	"time"
)

// A Failure is a problem that a test found.
type Failure struct {
	Test    string // the test's String: "file /etc/motd"
	Problem string // what is wrong: "does not exist"
}

// A FailedError reports all failures on a machine.
type FailedError struct {
	Failures []Failure
	Total    int           // number of tests, including those that passed
	Waited   time.Duration // time spent repeating the tests; zero if they ran once
}

// Error lists the failures.
func (e *FailedError) Error() string {
	tests := map[string]bool{}
	for _, f := range e.Failures {
		tests[f.Test] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d checks failed", len(tests), e.Total)
	if e.Waited > 0 {
		fmt.Fprintf(&b, " after %v", e.Waited.Round(time.Second))
	}
	for _, f := range e.Failures {
		fmt.Fprintf(&b, "\n\t%s: %s", f.Test, f.Problem)
	}
	return b.String()
}
