package ec2test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// maxBody limits the bytes of a request. EC2's limit is lower.
const maxBody = 4 << 20

// request is a parsed API call.
type request struct {
	service string // "ec2", "autoscaling", "ebs", "iam", "kms", "ssm", "rbin" or "sts"
	action  string
	region  string
	account string
	key     string // access key id
	id      string
	form    url.Values
	body    []byte // of JSON calls and of EBS direct
}

// response is the response to an API call. A zero status closes the connection
// instead.
type response struct {
	status      int
	contentType string
	body        []byte
	headers     map[string]string
	code        string // error code, for Server.Calls
}

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.work.Done()

	req, err := s.parse(r)
	if err != nil {
		s.write(w, req, s.errorResponse(req, err))
		return
	}
	index := s.begin(req)
	resp := s.respond(r, req)
	s.finish(index, resp)
	if resp.status == 0 {
		panic(http.ErrAbortHandler) // the response is lost
	}
	s.write(w, req, resp)
}

func (s *Server) write(w http.ResponseWriter, req *request, resp response) {
	w.Header().Set("Content-Type", resp.contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(resp.body)))
	w.Header().Set("x-amzn-RequestId", req.id)
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat)) // AWS's time, by which clients judge
	for name, value := range resp.headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(resp.status)
	if _, err := w.Write(resp.body); err != nil {
		s.opts.Logger.Debug("cannot send response", slog.String("action", req.action), slog.String("err", err.Error()))
	}
}

// parse parses a request and determines its account, region and service.
func (s *Server) parse(r *http.Request) (*request, *ec2query.Error) {
	req := &request{id: s.requestID(), service: "ec2"}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return req, ec2query.Errorf("MalformedRequest", "The body cannot be read: %v", err)
	}
	var service string
	req.key, req.region, service = credentialScope(r)
	req.account = s.account(req.key)
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		name, action, _ := strings.Cut(target, ".")
		switch name {
		case "AmazonSSM":
			req.service = "ssm"
		case "TrentService":
			req.service = "kms"
		default:
			return req, ec2query.Errorf("UnknownOperationException", "%s is not supported by ec2test. See %s", target, coveragePage)
		}
		req.action, req.body = action, body
		req.form = url.Values{}
		return req, s.checkCaller(req)
	}
	if service == "ebs" || service == "" && strings.HasPrefix(r.URL.Path, "/snapshots") {
		req.service, req.body = "ebs", body
		req.action, req.form = ebsRequest(r)
		return req, s.checkCaller(req)
	}
	if service == "rbin" {
		req.service, req.body, req.form = "rbin", body, url.Values{}
		var id string
		if req.action, id = rbinAction(r.Method, r.URL.Path); id != "" {
			req.body = []byte(`{"Identifier":` + strconv.Quote(id) + `}`)
		}
		return req, s.checkCaller(req)
	}
	if service != "" && !isSupported(service) {
		return req, ec2query.Errorf("InvalidAction", "The service %s is not supported by ec2test. See %s", service, coveragePage)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return req, ec2query.Errorf("MalformedQueryString", "The query string contains a syntax error")
	}
	for key, values := range r.URL.Query() {
		form[key] = append(form[key], values...)
	}
	req.form, req.action = form, form.Get("Action")
	if service == "sts" || service == "autoscaling" || service == "iam" {
		req.service = service
	}
	if req.action == "" {
		return req, ec2query.Errorf("MissingAction", "The request must contain the parameter Action")
	}
	return req, s.checkCaller(req)
}

func (s *Server) checkCaller(req *request) *ec2query.Error {
	if req.key == "" {
		return &ec2query.Error{
			Code:    "AuthFailure",
			Message: "AWS was not able to validate the provided access credentials",
			Status:  http.StatusUnauthorized,
		}
	}
	return nil
}

// credentialScope returns the access key, region and service in the header or
// query of a request signed with Signature Version 4.
func credentialScope(r *http.Request) (key, region, service string) {
	credential := r.URL.Query().Get("X-Amz-Credential")
	if _, after, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		credential, _, _ = strings.Cut(after, ",")
	}
	parts := strings.Split(strings.TrimSpace(credential), "/")
	if len(parts) != 5 {
		return "", "", ""
	}
	return parts[0], parts[2], parts[3]
}

func (s *Server) requestID() string {
	hex := newID("", s.nextSeq()) + "0000000000000000"
	return fmt.Sprintf("%s-%s-%s-%s-%s", hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:32])
}

// respond runs a call, with its latency and faults.
func (s *Server) respond(r *http.Request, req *request) response {
	ctx := r.Context()
	if err := s.opts.Clock.Sleep(ctx, s.opts.Latency.Call); err != nil {
		return response{}
	}
	f := s.faultFor(req)
	if f != nil && f.When == Hang {
		select {
		case <-ctx.Done():
		case <-s.closing:
		}
		return response{}
	}
	if f != nil && f.When == Before {
		return s.faultResponse(req, f)
	}
	var resp response
	switch req.service {
	case "autoscaling":
		resp = s.plainQuery(ctx, scalingNamespace, req)
	case "iam":
		resp = s.iam(ctx, req)
	case "ebs":
		resp = s.ebs(ctx, req)
	case "kms", "rbin", "ssm":
		resp = s.json(ctx, req)
	case "sts":
		resp = s.sts(req)
	default:
		resp = s.ec2(ctx, req)
	}
	if f != nil && f.When == After {
		return s.faultResponse(req, f)
	}
	return resp
}

// run runs the action of a request.
func (s *Server) run(ctx context.Context, req *request) (any, *ec2query.Error) {
	act, ok := s.actions[req.service][req.action]
	if !ok {
		return nil, unknownAction(req)
	}
	r := s.region(req.region)
	if r == nil {
		return nil, ec2query.OptInRequired(req.region)
	}
	c := &call{region: r, action: act, account: req.account, form: req.form}
	body, err := c.locked(func() (any, *ec2query.Error) { return act.run(c, req) }) //nolint:contextcheck // disks of vendors' images outlive the call
	// Work that has begun is completed even if the client disconnects.
	ctx = context.WithoutCancel(ctx)
	for _, f := range c.deferred {
		if failed := f(ctx); err == nil {
			err = failed
		}
	}
	return body, explain(err)
}

// coveragePage lists what the server supports.
const coveragePage = "https://github.com/bakestone-go/bakestone/blob/main/docs/ec2test-coverage.md"

// unknownAction returns the error for an unsupported call.
func unknownAction(req *request) *ec2query.Error {
	switch req.service {
	case "ebs", "kms", "rbin", "ssm":
		return ec2query.Errorf("UnknownOperationException", "%s is not supported by ec2test. See %s", req.action, coveragePage)
	}
	return ec2query.Errorf("InvalidAction", "The action %s is not valid for this web service. Calls that ec2test supports: %s", req.action, coveragePage)
}

// explain adds to the error of an unsupported parameter or filter where the
// supported ones are listed.
func explain(err *ec2query.Error) *ec2query.Error {
	if err == nil || err.Code != "UnknownParameter" && !strings.HasPrefix(err.Message, unknownFilter) {
		return err
	}
	more := *err
	more.Message += ". What ec2test supports: " + coveragePage
	return &more
}

// unknownFilter begins the message about an unsupported filter.
const unknownFilter = "The filter '"

// isSupported reports whether the server has a service.
func isSupported(service string) bool {
	return slices.Contains([]string{"ec2", "autoscaling", "ebs", "iam", "kms", "rbin", "ssm", "sts"}, service)
}

// errorResponse returns the response for an error in the service's protocol.
func (s *Server) errorResponse(req *request, err *ec2query.Error) response {
	switch req.service {
	case "ebs":
		return ebsErrorResponse(err)
	case "kms", "ssm":
		return jsonResponse(err.Status, err.Code, map[string]string{"__type": err.Code, "message": err.Message})
	case "rbin":
		return jsonResponse(err.Status, err.Code, map[string]string{"__type": err.Code, "Message": err.Message})
	case "autoscaling", "iam", "sts":
		return queryError(err, req.id)
	}
	body, encodeErr := ec2query.EncodeError(err, req.id)
	if encodeErr != nil {
		return response{status: http.StatusInternalServerError, code: err.Code}
	}
	return response{status: err.Status, contentType: "text/xml;charset=UTF-8", body: body, code: err.Code}
}

// A Call records an API call.
type Call struct {
	Action  string
	Region  string
	Account string
	Params  url.Values // of the query protocol, including Action, and of EBS direct except in bodies; empty for other protocols
	Time    time.Time  // of arrival, by the server's clock
	Status  int        // HTTP status; zero if the response was lost or is still to come
	Code    string     // error code; empty for success
}

// begin records the arrival of a call and returns its index.
func (s *Server) begin(req *request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, Call{
		Action: req.action, Region: req.region, Account: req.account,
		Params: req.form, Time: s.now(),
	})
	return len(s.calls) - 1
}

// finish records the outcome of the call with an index.
func (s *Server) finish(index int, resp response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[index].Status, s.calls[index].Code = resp.status, resp.code
}

// Calls returns all calls so far, in order of arrival. The Params must not be
// changed.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// CallCount returns the number of calls of an action so far, or of all actions
// if action is empty.
func (s *Server) CallCount(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for i := range s.calls {
		if action == "" || s.calls[i].Action == action {
			n++
		}
	}
	return n
}
