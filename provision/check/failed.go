package check

import (
	"fmt"
	"strings"
	"time"
)

// A Failure is something that does not hold.
type Failure struct {
	Test    string // what was looked at: "file /etc/motd"
	Problem string // what is wrong with it: "it is missing"
}

// A FailedError is all that does not hold on a machine.
type FailedError struct {
	Failures []Failure
	Of       int           // how many tests there were
	After    time.Duration // how long they were looked at; zero is once
}

// Error lists the failures.
func (e *FailedError) Error() string {
	tests := map[string]bool{}
	for _, f := range e.Failures {
		tests[f.Test] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d checks failed", len(tests), e.Of)
	if e.After > 0 {
		fmt.Fprintf(&b, " after %v", e.After.Round(time.Second))
	}
	for _, f := range e.Failures {
		fmt.Fprintf(&b, "\n\t%s: %s", f.Test, f.Problem)
	}
	return b.String()
}
