package ec2query

import (
	"fmt"
	"net/http"
)

// An Error is an error response of an AWS service.
type Error struct {
	Code    string
	Message string
	Status  int    // of HTTP
	Reason  string // in the errors of the EBS direct APIs; others have none
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Errorf returns an error caused by the request, with status 400.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

// MissingParameter returns the error of a request without a required parameter.
func MissingParameter(name string) *Error {
	return Errorf("MissingParameter", "The request must contain the parameter %s", name)
}

// InvalidValue returns the error of a parameter with an unacceptable value. The
// reason is a sentence.
func InvalidValue(name, value, reason string) *Error {
	return Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, name, reason)
}

// InvalidCombination returns the error of parameters that exclude or require
// each other.
func InvalidCombination(format string, args ...any) *Error {
	return Errorf("InvalidParameterCombination", format, args...)
}

// DryRun returns the error that reports the success of a dry run.
func DryRun() *Error {
	return &Error{
		Code:    "DryRunOperation",
		Message: "Request would have succeeded, but DryRun flag is set.",
		Status:  http.StatusPreconditionFailed,
	}
}

// Throttled returns the error of a request that exceeds a rate limit.
func Throttled() *Error {
	return &Error{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
}

// OptInRequired returns the error of a request to a region that is not enabled.
func OptInRequired(region string) *Error {
	return &Error{
		Code:    "OptInRequired",
		Message: fmt.Sprintf("You are not subscribed to this service. Region %s is not enabled for this account.", region),
		Status:  http.StatusForbidden,
	}
}

// Internal returns err as an error of the server, with status 500, and nil if
// err is nil.
func Internal(err error) *Error {
	if err == nil {
		return nil
	}
	return &Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}
