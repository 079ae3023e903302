package amicleanup

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// ErrNotCovered is wrapped by the error of a target that is left alone because
// it could not be read completely what is in use there.
var ErrNotCovered = errors.New("what is in use is not known")

// ErrExpired is wrapped by the error of Apply when the plan is too old.
var ErrExpired = errors.New("the plan has expired")

// ErrOtherPolicy is returned by Apply when the plan was made by another policy
// than the cleaner has.
var ErrOtherPolicy = errors.New("the plan was made by another policy")

// ErrOtherAccount is wrapped by the error of a target that is of another
// account now than when the plan was made.
var ErrOtherAccount = errors.New("the client is of another account than the plan")

// A TargetError is a target that could not be read or changed.
type TargetError struct {
	Account string
	Region  string
	Err     error
}

// Error is "REGION: cause", or "ACCOUNT/REGION: cause".
func (e *TargetError) Error() string { return fmt.Sprintf("%s: %v", place(e.Account, e.Region), e.Err) }

// Unwrap is the cause.
func (e *TargetError) Unwrap() error { return e.Err }

// An ImageError is an image that could not be changed or removed, or whose
// snapshots could not.
type ImageError struct {
	Account string
	Region  string
	ImageID string
	Name    string
	Err     error
}

// Error is "REGION: image ID (NAME): cause".
func (e *ImageError) Error() string {
	return fmt.Sprintf("%s: image %s (%s): %v", place(e.Account, e.Region), e.ImageID, e.Name, e.Err)
}

// Unwrap is the cause.
func (e *ImageError) Unwrap() error { return e.Err }

// errSnapshotRights would leave the snapshots of every further image behind.
var errSnapshotRights = errors.New("missing permission to delete snapshots")

// A meaning is what an error of EC2 says about the work at hand.
type meaning int

const (
	unclear  meaning = iota // this one call failed
	gone                    // what was to be removed is not there
	inUse                   // something else needs it
	refused                 // EC2 keeps it, on purpose
	hopeless                // every further call to the target fails as well
)

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
