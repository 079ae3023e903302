package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/nodes"
	"github.com/bakestone-go/bakestone/ec2"
)

// The exit codes of the examples, for CI jobs that treat failures differently.
const (
	Succeeded = 0
	Failed    = 1 // a build failed
	Invalid   = 2 // the command line, an input file or a definition is wrong, or there is nothing to bake
	Canceled  = 3 // interrupted; builds have cleaned up
	Refused   = 4 // AWS did not accept the credentials, or they lack a permission
)

// ExitCode returns the exit code for the error of a program whose context is ctx. If
// several builds failed, the code is that of the last kind in the list above.
func ExitCode(ctx context.Context, err error) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return Succeeded
	case refused(err):
		return Refused
	case ctx.Err() != nil:
		return Canceled
	case invalid(err):
		return Invalid
	default:
		return Failed
	}
}

func refused(err error) bool {
	if _, ok := errors.AsType[*ec2.DeniedError](err); ok {
		return true
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId",
		"InvalidClientTokenId", "RequestExpired", "SignatureDoesNotMatch", "UnauthorizedOperation", "UnrecognizedClientException",
	}, api.ErrorCode()) {
		return true
	}
	field, ok := errors.AsType[*bake.FieldError](err)
	return ok && field.Field == "Builder.Cloud" // names it if there are no usable credentials
}

func invalid(err error) bool {
	_, usage := errors.AsType[*usageError](err)
	_, node := errors.AsType[*nodes.Error](err)
	_, field := errors.AsType[*bake.FieldError](err)
	return usage || node || field || errors.Is(err, bake.ErrNoImages)
}

// Text returns the text of err to end a program with. Of several failed builds, whose
// errors were shown when they ended, it has only the beginning of the first one.
func Text(err error) string {
	var others []error
	var builds []string
	for _, e := range parts(err) {
		_, build := errors.AsType[*bake.Error](e)
		if _, field := errors.AsType[*bake.FieldError](e); build && !field {
			builds = append(builds, e.Error())
		} else {
			others = append(others, e)
		}
	}
	if len(builds) < 2 {
		return err.Error()
	}
	first, _, _ := strings.Cut(builds[0], "\n")
	return errors.Join(append([]error{fmt.Errorf("%s\nand %d more images; see above", first, len(builds)-1)}, others...)...).Error()
}

// parts returns the errors that were joined.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, parts(e)...)
	}
	return all
}

// A usageError reports a wrong command line.
type usageError struct{ err error }

// Error returns the error's text.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns the error.
func (e *usageError) Unwrap() error { return e.err }

// Parse parses the command line. For its errors, ExitCode returns Invalid.
func Parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return &usageError{err}
	}
	return nil
}
