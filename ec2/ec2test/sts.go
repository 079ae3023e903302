package ec2test

import (
	"encoding/xml"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// A Role is an IAM role for AssumeRole.
type Role struct {
	// ARN is the role's ARN, including its account:
	// "arn:aws:iam::210987654321:role/images".
	ARN string

	// ExternalID is the external id that a caller must give. Empty means none.
	ExternalID string
}

// roleKeyPrefix precedes the session's number in the access keys of assumed
// roles.
const roleKeyPrefix = "ASIATEST"

var roleARN = regexp.MustCompile(`^arn:aws:iam::(\d{12}):role/([\w+=,.@/-]+)$`)

// roleSession is a session of an assumed role.
type roleSession struct{ account, arn string }

// AddRole adds a role. Its sessions may do everything in the role's account.
func (s *Server) AddRole(r Role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles = append(s.roles, r)
}

type stsMetadata struct {
	RequestID string `xml:"ResponseMetadata>RequestId"`
}

type identityXML struct {
	XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
	ARN     string   `xml:"GetCallerIdentityResult>Arn"`
	UserID  string   `xml:"GetCallerIdentityResult>UserId"`
	Account string   `xml:"GetCallerIdentityResult>Account"`
	stsMetadata
}

type assumeRoleInput struct {
	RoleArn         string `ec2:"RoleArn,required"`
	RoleSessionName string `ec2:"RoleSessionName,required"`
	ExternalID      string `ec2:"ExternalId"`
	DurationSeconds *int
}

type assumeRoleXML struct {
	XMLName  xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
	ARN      string   `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
	ID       string   `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	Key      string   `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
	Secret   string   `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
	Token    string   `xml:"AssumeRoleResult>Credentials>SessionToken"`
	Duration string   `xml:"AssumeRoleResult>Credentials>Expiration"`
	stsMetadata
}

// sts handles a call of STS.
func (s *Server) sts(req *request) response {
	switch req.action {
	case "GetCallerIdentity":
		return s.stsResponse(req, identityXML{
			ARN: s.callerARN(req), UserID: "AIDAEC2TEST", Account: req.account, stsMetadata: stsMetadata{req.id},
		})
	case "AssumeRole":
		out, err := s.assumeRole(req)
		if err != nil {
			return queryError(err, req.id)
		}
		return s.stsResponse(req, out)
	case "DecodeAuthorizationMessage":
		out, err := decodeDenial(req)
		if err != nil {
			return queryError(err, req.id)
		}
		return s.stsResponse(req, out)
	}
	return queryError(ec2query.Errorf("InvalidAction", "Could not find operation %s for version 2011-06-15", req.action), req.id)
}

func (s *Server) callerARN(req *request) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if session, ok := s.sessions[req.key]; ok {
		return session.arn
	}
	return "arn:aws:iam::" + req.account + ":user/ec2test"
}

func (s *Server) assumeRole(req *request) (*assumeRoleXML, *ec2query.Error) {
	in := new(assumeRoleInput)
	if _, err := ec2query.Decode(req.form, in); err != nil {
		return nil, err
	}
	parts := roleARN.FindStringSubmatch(in.RoleArn)
	if parts == nil {
		return nil, ec2query.Errorf("ValidationError", "%s is invalid", in.RoleArn)
	}
	const hour = 3600
	seconds := hour
	if in.DurationSeconds != nil {
		seconds = *in.DurationSeconds
	}
	if seconds < 900 || seconds > 12*hour {
		return nil, ec2query.Errorf("ValidationError", "Value '%d' at 'durationSeconds' must be between 900 and 43200", seconds)
	}
	caller := s.callerARN(req)
	number := strconv.FormatUint(s.nextSeq(), 10)
	s.mu.Lock()
	defer s.mu.Unlock()
	allowed := slices.ContainsFunc(s.roles, func(r Role) bool {
		return r.ARN == in.RoleArn && (r.ExternalID == "" || r.ExternalID == in.ExternalID)
	})
	if !allowed {
		return nil, &ec2query.Error{
			Code: "AccessDenied", Status: http.StatusForbidden,
			Message: "User: " + caller + " is not authorized to perform: sts:AssumeRole on resource: " + in.RoleArn,
		}
	}
	name := parts[2][strings.LastIndexByte(parts[2], '/')+1:]
	session := roleSession{parts[1], "arn:aws:sts::" + parts[1] + ":assumed-role/" + name + "/" + in.RoleSessionName}
	key := roleKeyPrefix + number
	s.sessions[key] = session
	return &assumeRoleXML{
		ARN: session.arn, ID: "AROAEC2TEST:" + in.RoleSessionName, Key: key, Secret: "secret", Token: "token-" + number,
		Duration: ec2query.FormatTime(s.opts.Clock.Now().Add(time.Duration(seconds) * time.Second)), stsMetadata: stsMetadata{req.id},
	}, nil
}

func (s *Server) stsResponse(req *request, body any) response {
	encoded, err := xml.Marshal(body)
	if err != nil {
		return queryError(ec2query.Internal(err), req.id)
	}
	return response{status: http.StatusOK, contentType: "text/xml", body: append([]byte(xml.Header), encoded...)}
}
