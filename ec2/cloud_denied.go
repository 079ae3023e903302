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

// A DeniedError reports a call that EC2 denied, with the reason decoded by
// sts:DecodeAuthorizationMessage. Without that permission, EC2's original error is
// returned, with its encoded message.
type DeniedError struct {
	Action     string   // "ec2:RunInstances"
	Resource   string   // the ARN
	Principal  string   // the caller's ARN
	Explicit   bool     // a statement denies it; otherwise no statement allows it
	Statements []string // the Sids of the statements that deny it, if they have one

	Err  error // EC2's error
	blob string
}

// Error returns the text of EC2's error, with the reason in place of the encoded
// message.
func (e *DeniedError) Error() string {
	why := "no statement allows it"
	switch {
	case e.Explicit && len(e.Statements) > 0:
		why = "denied by statement " + strings.Join(e.Statements, ", ")
	case e.Explicit:
		why = "explicitly denied"
	}
	reason := fmt.Sprintf("%s on %s by %s: %s", e.Action, e.Resource, e.Principal, why)
	return strings.Replace(e.Err.Error(), encodedReason+e.blob, reason, 1)
}

// Unwrap returns EC2's error.
func (e *DeniedError) Unwrap() error { return e.Err }

// encodedReason precedes the encoded message in the text of an error.
const encodedReason = "Encoded authorization failure message: "

// A decoder is a middleware that decodes the messages of denied calls. This costs
// one more call after each denied one.
type decoder struct{ sts *sts.Client }

func (*decoder) ID() string { return "BakestoneDecode" }

// HandleInitialize decodes the error of a denied call.
func (d *decoder) HandleInitialize(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	out, meta, err := next.HandleInitialize(ctx, in)
	if awsapi.Code(err) == "UnauthorizedOperation" {
		err = d.decode(ctx, err)
	}
	return out, meta, err
}

// watch adds d to a client's middleware.
func (d *decoder) watch(stack *middleware.Stack) error {
	return stack.Initialize.Add(d, middleware.Before)
}

// decode returns err as a DeniedError, or unchanged if it cannot be decoded.
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

// authorization holds the fields of a decoded message that are used: see
// DecodeAuthorizationMessage in the STS API reference.
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
