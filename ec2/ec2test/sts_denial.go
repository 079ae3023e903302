package ec2test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"strings"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// A Denial makes the error of a [Fault] an UnauthorizedOperation with an
// encoded message, which sts:DecodeAuthorizationMessage decodes.
type Denial struct {
	// Resource is the ARN of the resource that was denied. It is required.
	Resource string

	// Statement is the Sid of the policy statement that denies the call. Empty
	// means that no statement allows it.
	Statement string
}

// encodedReason precedes the encoded message in the text of an error.
const encodedReason = "Encoded authorization failure message: "

type deniedStatement struct {
	ID     string `json:"statementId"`
	Effect string `json:"effect"`
}

// denialJSON is a decoded message, as STS documents it.
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

// message returns the text of the error of a denied call.
func (d *Denial) message(action, caller string) (string, *ec2query.Error) {
	var m denialJSON
	m.ExplicitDeny = d.Statement != ""
	m.Matched.Items = []deniedStatement{}
	if m.ExplicitDeny {
		m.Matched.Items = append(m.Matched.Items, deniedStatement{d.Statement, "DENY"})
	}
	m.Context.Principal.ID, m.Context.Principal.ARN = "AIDAEC2TEST", caller
	m.Context.Principal.Name = caller[strings.LastIndexByte(caller, '/')+1:]
	m.Context.Action, m.Context.Resource = "ec2:"+action, d.Resource
	decoded, err := json.Marshal(m)
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

// decodeDenial handles DecodeAuthorizationMessage.
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
