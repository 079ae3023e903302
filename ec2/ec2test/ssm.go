package ec2test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// parameter is one SSM parameter.
type parameter struct {
	value   string
	kind    string // String, StringList or SecureString
	of      string // data type: text or aws:ec2:image
	version int64
	changed time.Time
}

// publicPrefix begins the names of the parameters that AWS gives everyone.
const publicPrefix = "/aws/service/"

func paramKey(account, region, name string) string {
	if strings.HasPrefix(name, publicPrefix) {
		account = "aws"
	}
	return account + " " + region + " " + name
}

// SetParameter sets an SSM parameter of Options.Account in a region. One whose
// name begins with "/aws/service/" is seen by all accounts.
func (s *Server) SetParameter(region, name, value string) {
	s.region(region) // AWS's own come first
	s.putParameter(s.opts.Account, region, name, parameter{value: value, kind: "String", of: "text"})
}

// Parameter is the value of an SSM parameter of Options.Account.
func (s *Server) Parameter(region, name string) (value string, ok bool) {
	s.region(region)
	p, ok := s.params.get(paramKey(s.opts.Account, region, name))
	return p.value, ok
}

func (s *Server) putParameter(account, region, name string, p parameter) int64 {
	key := paramKey(account, region, name)
	return s.params.put(key, p, s.now())
}

// answerJSON is an answer of the JSON protocol.
func answerJSON(status int, code string, body any) answer {
	encoded, err := json.Marshal(body)
	if err != nil {
		return answer{status: http.StatusInternalServerError, contentType: "application/x-amz-json-1.1", code: "InternalServerError"}
	}
	return answer{status: status, contentType: "application/x-amz-json-1.1", body: encoded, code: code}
}

func ssmError(err *apiError) answer {
	return answerJSON(err.Status, err.Code, map[string]string{"__type": err.Code, "message": err.Message})
}

type parameterJSON struct {
	ARN      string  `json:"ARN"`
	Name     string  `json:"Name"`
	Type     string  `json:"Type"`
	Value    string  `json:"Value"`
	Version  int64   `json:"Version"`
	Changed  float64 `json:"LastModifiedDate"`
	DataType string  `json:"DataType"`
}

func (s *Server) parameterJSON(req *request, name string) (parameterJSON, bool) {
	p, ok := s.params.get(paramKey(req.account, req.region, name))
	if !ok {
		return parameterJSON{}, false
	}
	account := req.account
	if strings.HasPrefix(name, publicPrefix) {
		account = ""
	}
	return parameterJSON{
		ARN:  "arn:aws:ssm:" + req.region + ":" + account + ":parameter/" + strings.TrimPrefix(name, "/"),
		Name: name, Type: p.kind, Value: p.value, Version: p.version, Changed: float64(p.changed.UnixMilli()) / 1000, DataType: p.of,
	}, true
}

// decodeJSON refuses members that into has not got.
func decodeJSON(body []byte, into any) *apiError {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fail("ValidationException", "%v", err)
	}
	return nil
}

// ssm answers a call of SSM's Parameter Store.
func (s *Server) ssm(req *request) answer {
	if s.region(req.region) == nil {
		return ssmError(notSubscribed(req.region))
	}
	switch req.action {
	case "GetParameter":
		var in struct {
			Name           string
			WithDecryption bool
		}
		if err := decodeJSON(req.body, &in); err != nil {
			return ssmError(err)
		}
		p, ok := s.parameterJSON(req, in.Name)
		if !ok {
			return ssmError(fail("ParameterNotFound", "Parameter %s not found.", in.Name))
		}
		return answerJSON(http.StatusOK, "", struct{ Parameter parameterJSON }{p})
	case "GetParameters":
		return s.getParameters(req)
	case "PutParameter":
		return s.putParameterCall(req)
	}
	return ssmError(fail("UnknownOperationException", "%s is not served here", req.action))
}

func (s *Server) getParameters(req *request) answer {
	var in struct {
		Names          []string
		WithDecryption bool
	}
	if err := decodeJSON(req.body, &in); err != nil {
		return ssmError(err)
	}
	if len(in.Names) < 1 || len(in.Names) > 10 {
		return ssmError(fail("ValidationException", "names must have 1 to 10 members"))
	}
	out := struct {
		Parameters        []parameterJSON
		InvalidParameters []string
	}{[]parameterJSON{}, []string{}}
	for _, name := range in.Names {
		if p, ok := s.parameterJSON(req, name); ok {
			out.Parameters = append(out.Parameters, p)
		} else {
			out.InvalidParameters = append(out.InvalidParameters, name)
		}
	}
	return answerJSON(http.StatusOK, "", out)
}

func (s *Server) putParameterCall(req *request) answer {
	var in struct {
		Name        string
		Value       string
		Type        string
		DataType    string
		Description string
		Tier        string
		Overwrite   bool
		Tags        []struct{ Key, Value string }
	}
	if err := decodeJSON(req.body, &in); err != nil {
		return ssmError(err)
	}
	_, exists := s.params.get(paramKey(req.account, req.region, in.Name))
	switch {
	case in.Name == "" || in.Value == "":
		return ssmError(fail("ValidationException", "Name and Value are required"))
	case strings.HasPrefix(in.Name, "/aws"):
		return ssmError(fail("AccessDeniedException", "No access to reserved parameter name: %s.", in.Name))
	case exists && !in.Overwrite:
		return ssmError(fail("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."))
	case exists && len(in.Tags) > 0:
		return ssmError(fail("ValidationException", "Invalid request: tags and overwrite can't be used together."))
	case !exists && in.Type == "":
		return ssmError(fail("ValidationException", "A parameter type is required when you create a parameter."))
	}
	if in.DataType == "aws:ec2:image" && !s.imageExists(req, in.Value) {
		return ssmError(fail("ValidationException", "The AMI %s does not exist or is not available.", in.Value))
	}
	version := s.putParameter(req.account, req.region, in.Name, parameter{
		value: in.Value, kind: orText(in.Type, "String"), of: orText(in.DataType, "text"),
	})
	return answerJSON(http.StatusOK, "", struct {
		Version int64
		Tier    string
	}{version, "Standard"})
}

func (s *Server) imageExists(req *request, id string) bool {
	r := s.region(req.region)
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &call{region: r, account: req.account, now: s.now()}
	_, err := c.usableImage(id)
	return err == nil
}
