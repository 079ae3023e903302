package bake

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bakestone-go/bakestone/internal/mask"
	"github.com/bakestone-go/bakestone/internal/visible"
)

// ErrDisconnected is returned, wrapped, for a command or transfer whose connection
// was lost before its result arrived.
var ErrDisconnected = errors.New("connection to the machine was lost")

// ErrMachineEnded is what the errors of builders match if a machine has ended that a build
// needed, with all that ran on it.
var ErrMachineEnded = errors.New("the machine has ended")

// ErrNoImages is returned by Bake and Validate if there are no images. A caller for
// whom that is not a failure can test for it with errors.Is.
var ErrNoImages = errors.New("no images to bake")

// ErrSourceFailed is returned, wrapped, for an image whose source image was not
// baked.
var ErrSourceFailed = errors.New("source image was not baked")

// ErrDefinitionChanged is returned, wrapped, for a record of another definition with
// RefuseChange.
var ErrDefinitionChanged = errors.New("the definition changed")

// ErrUndoSkipped is returned, wrapped, by Undo if it removed everything except what
// provisioners or steps of the image left outside of the machine, since the definition it
// was given does not have them.
var ErrUndoSkipped = errors.New("not undone, since the definition does not have the step")

// ErrStopped is returned, wrapped, for an image that was skipped or interrupted
// because another image failed and Options.StopOnFailure is set.
var ErrStopped = errors.New("stopped because another image failed")

// An Error reports a failed build or an invalid definition.
type Error struct {
	Image string // the image's name
	Step  string // the step's name, or empty if the definition is invalid
	Err   error  // the cause

	mask *mask.Masker
}

// Error returns "image NAME: STEP: cause", with the build's secrets masked and
// characters that cannot be printed made visible.
func (e *Error) Error() string {
	text := e.Image + ": " + e.Err.Error()
	if e.Step != "" {
		text = e.Image + ": " + e.Step + ": " + e.Err.Error()
	}
	return "image " + visible.Text(e.mask.Mask(text))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// A PartialError reports that a step of Session.Promote failed although the
// artifact is good, for example because one of its copies failed. The build fails
// and its publishers do not run, but the artifact stays and is in the Result.
type PartialError struct {
	Err error // the cause
}

// Error returns the cause and that the artifact is good.
func (e *PartialError) Error() string { return "the artifact is good, but: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *PartialError) Unwrap() error { return e.Err }

// A PermanentError reports a failure that another attempt cannot change, such as a
// refused permission. A step that returns one, wrapped or not, is not retried.
type PermanentError struct {
	Err error // the cause
}

// Error returns the cause.
func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PermanentError) Unwrap() error { return e.Err }

// A FieldError reports an invalid field of a definition.
type FieldError struct {
	Field string // the field in Go syntax: "Script.Path"
	Err   error  // the problem
}

// Error returns "FIELD: problem".
func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the problem.
func (e *FieldError) Unwrap() error { return e.Err }

// Invalid returns a *FieldError for field. The format may wrap an error with %w.
func Invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// An ExitError reports a command that ran on a machine and failed.
type ExitError struct {
	Command string   // the command line, without its environment
	Status  int      // the exit status; for a signal 128 plus its number, if known
	Signal  string   // the signal's name without "SIG", or empty
	Output  []string // the last lines of both outputs, in the order they arrived: in a build at most 20 of 400 bytes, masked and printable
}

// Error returns the exit status or signal, the command and its last output lines, with
// characters that cannot be printed made visible.
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
	return visible.Text(b.String())
}

const longestCommandShown = 120

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if len(line) > longestCommandShown {
		return shorten(line, longestCommandShown)
	}
	if more {
		line += " …"
	}
	return line
}

// A PanicError reports a panic in a step. The build is cleaned up like any other
// failed one.
type PanicError struct {
	Value string // the panic value, printed
	Stack string // the stack trace
}

// Error returns "panic: VALUE" and the stack trace.
func (e *PanicError) Error() string { return "panic: " + e.Value + "\n" + e.Stack }
