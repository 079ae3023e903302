package awsapi

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

// A TimeoutError reports an attempt of an API call that got no response in
// time. The call may have taken effect.
type TimeoutError struct {
	Action string
	After  time.Duration
}

// Error names the action and the time limit.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("%s: no response within %v", e.Action, e.After)
}

// RetryableError makes the SDK's retryer retry the call.
func (e *TimeoutError) RetryableError() bool { return true }

// An uncertainError wraps AWS's rejection of the last attempt of a call of which
// an earlier attempt may have taken effect.
type uncertainError struct{ error }

func (e *uncertainError) Error() string {
	return e.error.Error() + " (an earlier attempt got no clear response and may have taken effect)"
}

func (e *uncertainError) Unwrap() error { return e.error }

// Code returns the API error code of err, or "" if err has none.
func Code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// isThrottle reports whether AWS throttled a call.
func isThrottle(err error) bool {
	_, throttle := retry.DefaultThrottleErrorCodes[Code(err)]
	return throttle
}

// Rejected reports whether AWS rejected a call without executing it: a client
// error, not a server or network failure. If Rejected is false, the call or one
// of its attempts may have taken effect.
func Rejected(err error) bool {
	if _, uncertain := errors.AsType[*uncertainError](err); uncertain {
		return false
	}
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorFault() != smithy.FaultServer && !isThrottle(err) &&
		api.ErrorCode() != "" && !isServerFailure(api.ErrorCode())
}

// isServerFailure reports whether code stands for a failure of EC2 itself. The
// query protocol does not tell the SDK whether the client or the server is at
// fault.
func isServerFailure(code string) bool {
	switch code {
	case "InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable", "ServerInternal", "RequestTimeout":
		return true
	}
	return false
}

// Permanent reports whether AWS rejected a call for a reason that repeating the call
// does not change: it is invalid or not permitted. Reasons that may be due to eventual
// consistency, such as that a resource does not exist or is not shared yet, are not.
func Permanent(err error) bool {
	if !Rejected(err) {
		return false
	}
	code := Code(err)
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "OptInRequired", "OperationNotPermitted", "UnsupportedOperation",
		"UnknownParameter", "ValidationError", "ValidationException", "InvalidAMIAttributeItemValue", "TagLimitExceeded":
		return true
	}
	return strings.HasPrefix(code, "InvalidParameter") || strings.HasPrefix(code, "MissingParameter") || strings.HasSuffix(code, ".Malformed")
}

// NoCapacity reports whether code means that EC2 lacks the capacity for a
// launch. Another instance type or zone may have some; retrying the same call
// does not help.
func NoCapacity(code string) bool {
	switch code {
	case "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity",
		"InsufficientCapacityOnHost", "ReservationCapacityExceeded", "UnfulfillableCapacity",
		"Unsupported", "SpotMaxPriceTooLow":
		return true
	}
	return false
}

// retryNoCapacity keeps the SDK from retrying a call for lack of capacity, since
// EC2 reports some of these errors with status 500.
func retryNoCapacity(err error) aws.Ternary {
	if NoCapacity(Code(err)) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}

// retrySnapshotRate makes the SDK retry a snapshot of a volume that was already
// snapshotted in the last 15 seconds, perhaps by an attempt whose response was
// lost.
func retrySnapshotRate(err error) aws.Ternary {
	if Code(err) == "SnapshotCreationPerVolumeRateExceeded" {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}
