package ec2test

import (
	"fmt"
	"net/http"
)

// apiError is an error as EC2 answers it.
type apiError struct {
	Code    string
	Message string
	Status  int
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// fail is an error of the client's making, status 400.
func fail(code, format string, args ...any) *apiError {
	return &apiError{Code: code, Message: fmt.Sprintf(format, args...), Status: http.StatusBadRequest}
}

func missing(name string) *apiError {
	return fail("MissingParameter", "The request must contain the parameter %s", name)
}

func invalidValue(name, value, why string) *apiError {
	return fail("InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, name, why)
}

func combination(format string, args ...any) *apiError {
	return fail("InvalidParameterCombination", format, args...)
}

func dryRun() *apiError {
	return &apiError{
		Code:    "DryRunOperation",
		Message: "Request would have succeeded, but DryRun flag is set.",
		Status:  http.StatusPreconditionFailed,
	}
}

func throttled() *apiError {
	return &apiError{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
}

func notSubscribed(region string) *apiError {
	return &apiError{
		Code:    "OptInRequired",
		Message: fmt.Sprintf("You are not subscribed to this service. Region %s is not enabled for this account.", region),
		Status:  http.StatusForbidden,
	}
}

// internal is a fault of the server or of its machine kind.
func internal(err error) *apiError {
	if err == nil {
		return nil
	}
	return &apiError{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
}
