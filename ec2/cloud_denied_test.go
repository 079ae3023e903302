package ec2_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const deniedSubnet = "arn:aws:ec2:eu-west-1:123456789012:subnet/subnet-1"

// TestDeniedError has EC2 refuse a launch with an encoded message.
func TestDeniedError(t *testing.T) {
	const encoded = "Encoded authorization failure message"
	for name, test := range map[string]struct {
		denial   ec2test.Denial
		decoding ec2test.Fault // of the call that decodes; zero is none
		want     string
		not      string
	}{
		"allowed by nothing": {
			denial: ec2test.Denial{Resource: deniedSubnet},
			want:   "ec2:RunInstances on " + deniedSubnet + ", asked for by arn:aws:iam::123456789012:user/ec2test: nothing allows it",
			not:    encoded,
		},
		"denied": {
			denial: ec2test.Denial{Resource: deniedSubnet, Statement: "OnlySmall"},
			want:   "denied by the statement OnlySmall",
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
			server := newServer(t, nil)
			server.Fail(ec2test.Fault{Action: "RunInstances", Denied: &test.denial})
			if test.decoding.Action != "" {
				server.Fail(test.decoding)
			}
			_, err := bake.Bake(t.Context(), nil, simple(newCloud(server)))
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), test.not) {
				t.Errorf("error %v, want %q and not %q", err, test.want, test.not)
			}
			if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "UnauthorizedOperation" {
				t.Errorf("EC2's error is not in %v", err)
			}
			denied, ok := errors.AsType[*ec2.DeniedError](err)
			if ok != (test.decoding.Action == "") {
				t.Errorf("DeniedError: %+v", denied)
			}
			if ok && (denied.Resource != deniedSubnet || denied.Action != "ec2:RunInstances" || denied.Explicit != (test.denial.Statement != "")) {
				t.Errorf("DeniedError: %+v", denied)
			}
			if n := server.CallCount("DecodeAuthorizationMessage"); n != 1 {
				t.Errorf("%d calls to decode, want one", n)
			}
			wantNoLeftovers(t, server)
		})
	}
}
