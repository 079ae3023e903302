package ec2_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const deniedSubnet = "arn:aws:ec2:eu-west-1:123456789012:subnet/subnet-1"

// TestDeniedError refuses a launch with an encoded message.
func TestDeniedError(t *testing.T) {
	const encoded = "Encoded authorization failure message"
	for name, test := range map[string]struct {
		denial   ec2test.Denial
		decoding ec2test.Fault // fails DecodeAuthorizationMessage, unless zero
		want     string
		not      string
	}{
		"allowed by nothing": {
			denial: ec2test.Denial{Resource: deniedSubnet},
			want:   "ec2:RunInstances on " + deniedSubnet + " by arn:aws:iam::123456789012:user/ec2test: no statement allows it",
			not:    encoded,
		},
		"denied": {
			denial: ec2test.Denial{Resource: deniedSubnet, Statement: "OnlySmall"},
			want:   "denied by statement OnlySmall",
			not:    encoded,
		},
		"decoding refused": {
			denial:   ec2test.Denial{Resource: deniedSubnet},
			decoding: ec2test.Fault{Action: "DecodeAuthorizationMessage", Code: "AccessDenied", Times: -1},
			want:     encoded + ": ey",
			not:      deniedSubnet,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				server.Fail(ec2test.Fault{Action: "RunInstances", Denied: &test.denial})
				if test.decoding.Action != "" {
					server.Fail(test.decoding)
				}
				_, err := bake.Bake(t.Context(), nil, simple(newCloud(server)))
				wantError(t, "Bake", err, test.want)
				if err != nil && strings.Contains(err.Error(), test.not) {
					t.Errorf("Bake() error = %v, want it without %q", err, test.not)
				}
				if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "UnauthorizedOperation" {
					t.Errorf("Bake() error = %v, want EC2's error wrapped", err)
				}
				denied, ok := errors.AsType[*ec2.DeniedError](err)
				if want := test.decoding.Action == ""; ok != want {
					t.Errorf("Bake() error has a DeniedError: %t, want %t", ok, want)
				}
				if ok && (denied.Resource != deniedSubnet || denied.Action != "ec2:RunInstances" || denied.Explicit != (test.denial.Statement != "")) {
					t.Errorf("DeniedError = %+v, want ec2:RunInstances on %s denied by statement %q", denied, deniedSubnet, test.denial.Statement)
				}
				if n := server.CallCount("DecodeAuthorizationMessage"); n != 1 {
					t.Errorf("calls of DecodeAuthorizationMessage = %d, want 1", n)
				}
				wantNoLeftovers(t, server)
			})
		})
	}
}
