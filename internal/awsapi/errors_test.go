package awsapi_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

func TestPermanent(t *testing.T) {
	for code, want := range map[string]bool{
		"InvalidParameter": true, "InvalidParameterValue": true, "InvalidParameterCombination": true, "MissingParameter": true,
		"InvalidAMIID.Malformed": true, "OperationNotPermitted": true, "UnauthorizedOperation": true, "AccessDeniedException": true,
		"InvalidAMIAttributeItemValue": true, "UnsupportedOperation": true,
		"InvalidAMIID.NotFound": false, "InvalidAMIID.Unavailable": false, "IncorrectState": false, "AuthFailure": false,
		"InvalidRequest": false, "InternalError": false, "RequestLimitExceeded": false, "ResourceLimitExceeded": false, "": false,
	} {
		err := fmt.Errorf("call: %w", &smithy.GenericAPIError{Code: code})
		if got := awsapi.Permanent(err); got != want {
			t.Errorf("Permanent(%v) = %t, want %t", err, got, want)
		}
	}
	for _, err := range []error{nil, errors.New("connection lost"), &smithy.GenericAPIError{Code: "OperationNotPermitted", Fault: smithy.FaultServer}} {
		if awsapi.Permanent(err) {
			t.Errorf("Permanent(%v) = true, want false", err)
		}
	}
}
