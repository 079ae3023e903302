package bake

import (
	"errors"
	"fmt"
	"strings"
)

// ErrDisconnected is wrapped by the error of a command or transfer whose
// connection was lost before the machine said how it ended.
var ErrDisconnected = errors.New("connection to the machine was lost")

// ErrSourceFailed is wrapped by the error of an image that was not baked
// because the image it is made from was not.
var ErrSourceFailed = errors.New("the image it is made from was not baked")

// ErrStopped is wrapped by the error of an image that was not baked, or not
// finished, because another one failed and Options.StopOnFailure was set.
var ErrStopped = errors.New("stopped because another image failed")

// An Error is a build that failed: which image, in which step, and why.
// Errors.Is and errors.As reach the cause.
type Error struct {
	Image string // the image's name
	Step  string // the step's name; empty when the definition itself is wrong
	Err   error  // the cause

	mask *masker
}

// Error is "image NAME: STEP: cause", with the secrets of the build masked.
func (e *Error) Error() string {
	text := e.Image + ": " + e.Err.Error()
	if e.Step != "" {
		text = e.Image + ": " + e.Step + ": " + e.Err.Error()
	}
	return "image " + e.mask.mask(text)
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// A PartialError is returned by a step of Session.Promote when the artifact is
// good and stays, although not everything succeeded that was to be done with
// it, such as one of its copies. The build fails and its publishers do not run,
// but the artifact is kept and is in the Result.
type PartialError struct {
	Err error // what failed
}

// Error is what failed.
func (e *PartialError) Error() string { return "the artifact is good, but: " + e.Err.Error() }

// Unwrap is what failed.
func (e *PartialError) Unwrap() error { return e.Err }

// A FieldError is a wrong value in a definition, found before anything was
// created.
type FieldError struct {
	Field string // the field as Go spells it: "Script.Path"
	Err   error  // what is wrong with it
}

// Error is "FIELD: what is wrong".
func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap is what is wrong.
func (e *FieldError) Unwrap() error { return e.Err }

// Invalid returns a *FieldError for field; format may wrap an error with %w.
func Invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// An ExitError is a command that ran on a machine and did not succeed.
type ExitError struct {
	Command string   // the command line, without its environment
	Status  int      // the exit status; 128 plus the signal's number, if known, for a signal
	Signal  string   // the signal's name without "SIG", empty for a plain exit
	Output  []string // the last lines of what it wrote, both outputs as they came
}

// Error names the command's end and the last lines it wrote.
func (e *ExitError) Error() string {
	var b strings.Builder
	if e.Signal != "" {
		fmt.Fprintf(&b, "killed by signal %s", e.Signal)
	} else {
		fmt.Fprintf(&b, "exit status %d", e.Status)
	}
	fmt.Fprintf(&b, ": %s", firstLine(e.Command))
	for _, line := range e.Output {
		b.WriteString("\n\t")
		b.WriteString(line)
	}
	return b.String()
}

const longestCommandShown = 120

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if len(line) > longestCommandShown {
		line, more = strings.ToValidUTF8(line[:longestCommandShown], ""), true
	}
	if more {
		line += " …"
	}
	return line
}

// A PanicError is a panic inside a step. The build it happened in is cleaned
// up like any other that failed.
type PanicError struct {
	Value string // what was passed to panic, printed
	Stack string // where
}

// Error is "panic: VALUE" and the stack.
func (e *PanicError) Error() string { return "panic: " + e.Value + "\n" + e.Stack }
