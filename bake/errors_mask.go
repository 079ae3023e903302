package bake

import (
	"errors"
	"slices"
	"strings"
)

// A maskedError is an error without its secrets and with printable text.
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

// maskError masks an error of a machine or step. The output is the last lines of the
// command, masked before they were cut, or nil if they are not known.
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
	if err == error(exit) { //nolint:errorlint // only the bare error can be replaced
		return &masked
	}
	text := r.Redact(strings.Replace(err.Error(), exit.Error(), masked.Error(), 1))
	if text == err.Error() && masked.Command == exit.Command && slices.Equal(masked.Output, exit.Output) {
		return err
	}
	return &maskedError{text: text, err: err, exit: &masked}
}
