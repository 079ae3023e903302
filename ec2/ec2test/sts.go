package ec2test

import (
	"encoding/xml"
	"net/http"
)

type identityXML struct {
	XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	ARN       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

// sts answers a call of STS.
func (s *Server) sts(req *request) answer {
	if req.action != "GetCallerIdentity" {
		return s.errorAnswer(req, fail("InvalidAction", "Could not find operation %s for version 2011-06-15", req.action))
	}
	body, err := xml.Marshal(identityXML{
		ARN: "arn:aws:iam::" + req.account + ":user/ec2test", UserID: "AIDAEC2TEST", Account: req.account, RequestID: req.id,
	})
	if err != nil {
		return s.errorAnswer(req, internal(err))
	}
	return answer{status: http.StatusOK, contentType: "text/xml", body: append([]byte(xml.Header), body...)}
}
