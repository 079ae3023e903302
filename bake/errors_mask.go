package bake

import (
	"errors"
	"strings"
)

// A maskedError is an error of a machine without secrets and characters that cannot be
// printed.
type maskedError struct {
	text string
	err  error
	exit *ExitError // err's, masked; may be nil
}

func (e *maskedError) Error() string { return e.text }

// Unwrap returns the masked ExitError first: errors.As finds it before the original.
func (e *maskedError) Unwrap() []error {
	if e.exit == nil {
		return []error{e.err}
	}
	return []error{e.exit, e.err}
}

// maskError masks an error of a machine. The output is the last lines of the command,
// masked before they were cut, or nil if they are not known.
func (r *Run) maskError(err error, output []string) error {
	if err == nil {
		return nil
	}
	exit, ok := errors.AsType[*ExitError](err)
	if !ok {
		text := r.Redact(err.Error())
		if text == err.Error() {
			return err
		}
		return &maskedError{text: text, err: err}
	}
	masked := *exit
	masked.Command = r.Redact(exit.Command)
	if masked.Output = output; output == nil {
		for _, line := range exit.Output {
			masked.Output = append(masked.Output, shorten(r.Redact(line), tailColumns))
		}
	}
	if err == error(exit) { //nolint:errorlint // only the bare error may be replaced
		return &masked
	}
	text := strings.Replace(err.Error(), exit.Error(), masked.Error(), 1)
	return &maskedError{text: r.Redact(text), err: err, exit: &masked}
}
