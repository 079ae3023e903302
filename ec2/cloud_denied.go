package ec2

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A DeniedError is a call that EC2 refused for want of permission, with what
// AWS says about it when it is asked by sts:DecodeAuthorizationMessage. Without
// that permission the error is EC2's own, whose reason nobody can read.
type DeniedError struct {
	Action     string   // "ec2:RunInstances"
	Resource   string   // the ARN
	Principal  string   // the ARN of who asked
	Explicit   bool     // a statement denies it; otherwise none allows it
	Statements []string // the Sids of the statements that deny it, as far as they have one

	Err  error // EC2's
	blob string
}

// Error is EC2's, with the reason in place of the encoded message.
func (e *DeniedError) Error() string {
	why := "nothing allows it"
	switch {
	case e.Explicit && len(e.Statements) > 0:
		why = "denied by the statement " + strings.Join(e.Statements, ", ")
	case e.Explicit:
		why = "denied explicitly"
	}
	reason := fmt.Sprintf("%s on %s, asked for by %s: %s", e.Action, e.Resource, e.Principal, why)
	return strings.Replace(e.Err.Error(), encodedReason+e.blob, reason, 1)
}

// Unwrap is EC2's error.
func (e *DeniedError) Unwrap() error { return e.Err }

// encodedReason comes before the encoded message in the text of an error.
const encodedReason = "Encoded authorization failure message: "

// decoder asks, for every call that EC2 refuses with an encoded message, what
// that says. It is one more call after one that has failed for good.
type decoder struct{ sts *sts.Client }

func (*decoder) ID() string { return "BakestoneDecode" }

// HandleInitialize looks at the error of a call that is over.
func (d *decoder) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleInitialize(ctx, in)
	if awsapi.Code(err) == "UnauthorizedOperation" {
		err = d.decode(ctx, err)
	}
	return out, meta, err
}

// watch has the refusals of every call of a stack decoded.
func (d *decoder) watch(stack *middleware.Stack) error {
	return stack.Initialize.Add(d, middleware.Before)
}

// decode returns err with its reason, or as it is.
func (d *decoder) decode(ctx context.Context, err error) error {
	_, after, found := strings.Cut(err.Error(), encodedReason)
	blob := after
	if end := strings.IndexAny(after, " \t\n,;"); end >= 0 {
		blob = after[:end]
	}
	if !found || blob == "" {
		return err
	}
	out, decodeErr := d.sts.DecodeAuthorizationMessage(ctx, &sts.DecodeAuthorizationMessageInput{EncodedMessage: aws.String(blob)})
	if decodeErr != nil {
		return err
	}
	var says authorization
	if json.Unmarshal([]byte(aws.ToString(out.DecodedMessage)), &says) != nil || says.Context.Action == "" {
		return err
	}
	denied := &DeniedError{
		Action: says.Context.Action, Resource: says.Context.Resource, Principal: says.Context.Principal.ARN,
		Explicit: says.ExplicitDeny, Err: err, blob: blob,
	}
	for _, s := range says.Matched.Items {
		if s.ID != "" && strings.EqualFold(s.Effect, "deny") {
			denied.Statements = append(denied.Statements, s.ID)
		}
	}
	return denied
}

// authorization is what is read of a decoded message: see
// DecodeAuthorizationMessage in the API reference of STS.
type authorization struct {
	ExplicitDeny bool `json:"explicitDeny"`
	Matched      struct {
		Items []struct {
			ID     string `json:"statementId"`
			Effect string `json:"effect"`
		} `json:"items"`
	} `json:"matchedStatements"`
	Context struct {
		Principal struct {
			ARN string `json:"arn"`
		} `json:"principal"`
		Action   string `json:"action"`
		Resource string `json:"resource"`
	} `json:"context"`
}
