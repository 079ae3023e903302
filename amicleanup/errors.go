package amicleanup

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// ErrUsageUnknown is wrapped by the error of a target in which a source of
// references could not be read completely. Images that it could have named are
// kept.
var ErrUsageUnknown = errors.New("usage could not be determined")

// ErrNothingSelected is wrapped by the error of Plan if there are images and the
// policy selects none of them.
var ErrNothingSelected = errors.New("no image selected")

// ErrExpired is wrapped by the error of Apply if the plan is too old.
var ErrExpired = errors.New("plan expired")

// ErrOtherAccount is wrapped by the error of a target whose credentials belong to
// another account than when the plan was made.
var ErrOtherAccount = errors.New("plan was made for another account")

// A TargetError reports a target, or one of its images, that could not be read or
// changed. ImageID and Name are empty if it is about the target.
type TargetError struct {
	Account string
	Region  string
	ImageID string
	Name    string
	Err     error
}

// Error returns "REGION: cause" or "ACCOUNT/REGION: image ID (NAME): cause".
func (e *TargetError) Error() string {
	if e.ImageID != "" {
		return fmt.Sprintf("%s: image %s (%s): %v", place(e.Account, e.Region), e.ImageID, e.Name, e.Err)
	}
	return fmt.Sprintf("%s: %v", place(e.Account, e.Region), e.Err)
}

// Unwrap returns the cause.
func (e *TargetError) Unwrap() error { return e.Err }

// errSnapshotRights ends the work on a target: the snapshots of every further
// image would be left behind.
var errSnapshotRights = errors.New("missing permission to delete snapshots")

// A meaning classifies an error of EC2.
type meaning int

const (
	unclear  meaning = iota // this call failed
	gone                    // the resource to remove does not exist
	inUse                   // something else needs the resource
	refused                 // EC2 protects the resource
	hopeless                // every further call to the target fails
)

func isGone(err error) bool { return meaningOf(err) == gone }

func meaningOf(err error) meaning {
	var api smithy.APIError
	switch {
	case errors.Is(err, errSnapshotRights):
		return hopeless
	case errors.Is(err, errSharesTooMany):
		return refused
	case !errors.As(err, &api):
		return unclear
	}
	switch api.ErrorCode() {
	case "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound":
		return gone
	case "InvalidSnapshot.InUse":
		return inUse
	case "OperationNotPermitted":
		return refused
	case "UnauthorizedOperation", "OptInRequired", "ExpiredToken", "RequestExpired", "InvalidClientTokenId":
		return hopeless
	default:
		return unclear
	}
}
