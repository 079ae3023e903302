package iampolicy_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

func list(words ...string) []string { return words }

func TestNewJoins(t *testing.T) {
	tagged := iampolicy.Condition{"StringLike": {"aws:ResourceTag/a": {"*"}}}
	got := iampolicy.New(
		iampolicy.Allow("Remove", list("z:B", "z:A"), list("r1"), nil),
		iampolicy.Allow("Look", list("z:L"), list("*"), nil),
		iampolicy.Allow("Remove", list("z:A", "z:C"), list("r1"), nil),
		iampolicy.Allow("Remove", list("z:A"), list("r1"), tagged),
		iampolicy.Allow("Remove", list("z:A"), list("r2"), tagged),
		iampolicy.Allow("Remove", list("z:A"), list("r3"), nil),
		iampolicy.Statement{Sid: "Remove", Effect: "Deny", Action: list("z:A"), Resource: list("r1")},
	)
	want := &iampolicy.Document{Version: "2012-10-17", Statement: []iampolicy.Statement{
		{Sid: "Remove", Effect: "Allow", Action: list("z:A", "z:B", "z:C"), Resource: list("r1")},
		{Sid: "Look", Effect: "Allow", Action: list("z:L"), Resource: list("*")},
		{Sid: "Remove2", Effect: "Allow", Action: list("z:A"), Resource: list("r1", "r2"), Condition: tagged},
		{Sid: "Remove3", Effect: "Allow", Action: list("z:A"), Resource: list("r3")},
		{Sid: "Remove4", Effect: "Deny", Action: list("z:A"), Resource: list("r1")},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(list("z:A", "z:B", "z:C", "z:L"), got.Actions()); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	back := new(iampolicy.Document)
	if err := json.Unmarshal([]byte(got.String()), back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, back); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
}

// Documents that were put together before may be put together again: what both
// allow is there once, and no Sid is there twice.
func TestWith(t *testing.T) {
	one := iampolicy.New(
		iampolicy.Allow("Remove", list("z:A"), list("r1"), nil),
		iampolicy.Allow("Remove", list("z:B"), list("r2"), nil),
	)
	other := iampolicy.New(
		iampolicy.Allow("Remove", list("z:C"), list("r3"), nil),
		iampolicy.Allow("Remove", list("z:B", "z:D"), list("r2"), nil),
		iampolicy.Allow("Bucket7", list("s3:Get"), list("b"), nil), // as a caller may add
	)
	got := one.With(other, nil, one)
	want := &iampolicy.Document{Version: "2012-10-17", Statement: []iampolicy.Statement{
		{Sid: "Remove", Effect: "Allow", Action: list("z:A"), Resource: list("r1")},
		{Sid: "Remove2", Effect: "Allow", Action: list("z:B", "z:D"), Resource: list("r2")},
		{Sid: "Remove3", Effect: "Allow", Action: list("z:C"), Resource: list("r3")},
		{Sid: "Bucket7", Effect: "Allow", Action: list("s3:Get"), Resource: list("b")},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.With().String() != got.String() {
		t.Errorf("with nothing it is %s", got.With())
	}
	if len(one.Statement) != 2 || len(one.Statement[1].Action) != 1 {
		t.Errorf("With changed its receiver: %s", one)
	}
}

func TestARNs(t *testing.T) {
	for _, test := range []struct{ service, region, resource, want string }{
		{"ec2", "eu-west-1", "image/*", "arn:aws:ec2:eu-west-1::image/*"},
		{"ec2", "cn-north-1", "instance/*", "arn:aws-cn:ec2:cn-north-1:*:instance/*"},
		{"ssm", "us-gov-west-1", "parameter/a", "arn:aws-us-gov:ssm:us-gov-west-1:*:parameter/a"},
	} {
		if got := iampolicy.ARNs(test.service, test.region, test.resource)[0]; got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}
