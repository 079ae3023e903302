package ec2test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// A Denial makes a Fault a refusal for want of permission as EC2 gives it: with
// an encoded message that sts:DecodeAuthorizationMessage decodes.
type Denial struct {
	// Resource is the ARN of what the call is not allowed to be about. It is
	// required.
	Resource string

	// Statement is the Sid of a policy's statement that denies the call. Empty
	// is a call that no statement allows.
	Statement string
}

// encodedReason comes before the encoded message in the text of an error.
const encodedReason = "Encoded authorization failure message: "

type deniedStatement struct {
	ID     string `json:"statementId"`
	Effect string `json:"effect"`
}

// denialJSON is the decoded message, as STS documents it.
type denialJSON struct {
	Allowed      bool `json:"allowed"`
	ExplicitDeny bool `json:"explicitDeny"`
	Matched      struct {
		Items []deniedStatement `json:"items"`
	} `json:"matchedStatements"`
	Context struct {
		Principal struct {
			ID   string `json:"id"`
			ARN  string `json:"arn"`
			Name string `json:"name"`
		} `json:"principal"`
		Action   string `json:"action"`
		Resource string `json:"resource"`
	} `json:"context"`
}

// message is the text of the refusal of a call.
func (d *Denial) message(action, caller string) (string, *ec2query.Error) {
	var says denialJSON
	says.ExplicitDeny = d.Statement != ""
	says.Matched.Items = []deniedStatement{}
	if says.ExplicitDeny {
		says.Matched.Items = append(says.Matched.Items, deniedStatement{d.Statement, "DENY"})
	}
	says.Context.Principal.ID, says.Context.Principal.ARN = "AIDAEC2TEST", caller
	says.Context.Principal.Name = caller[strings.LastIndexByte(caller, '/')+1:]
	says.Context.Action, says.Context.Resource = "ec2:"+action, d.Resource
	decoded, err := json.Marshal(says)
	if err != nil {
		return "", ec2query.Internal(err)
	}
	return "You are not authorized to perform this operation. " + encodedReason + base64.RawURLEncoding.EncodeToString(decoded), nil
}

type decodeInput struct {
	EncodedMessage string `ec2:"EncodedMessage,required"`
}

type decodedXML struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ DecodeAuthorizationMessageResponse"`
	Message string   `xml:"DecodeAuthorizationMessageResult>DecodedMessage"`
	stsMetadata
}

// decodeDenial answers DecodeAuthorizationMessage.
func decodeDenial(req *request) (*decodedXML, *ec2query.Error) {
	in := new(decodeInput)
	if _, err := ec2query.Decode(req.form, in); err != nil {
		return nil, err
	}
	decoded, err := base64.RawURLEncoding.DecodeString(in.EncodedMessage)
	if err != nil || !json.Valid(decoded) {
		return nil, ec2query.Errorf("InvalidAuthorizationMessageException", "Message is not valid")
	}
	return &decodedXML{Message: string(decoded), stsMetadata: stsMetadata{req.id}}, nil
}
