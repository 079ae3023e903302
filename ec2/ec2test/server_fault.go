package ec2test

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// When selects the moment of a call at which a [Fault] applies.
type When int

// Moments of a fault.
const (
	// Before fails the call before it has any effect. This is the zero value.
	Before When = iota

	// After lets the call take effect, and then drops its response or replaces
	// it with the error.
	After

	// Hang never responds, until the client gives up or the server closes. The
	// call has no effect.
	Hang
)

// A Fault is a rule that makes calls fail. A call must match all of Action,
// Region, Account and Match; the zero value of each matches all calls.
//
// A Fault with InstanceType, Zone or Market is a capacity fault: matching
// RunInstances and StartInstances calls fail with Code, by default
// InsufficientInstanceCapacity. Their Action, Account, Match and When are
// ignored. See also [Server.SetCapacity].
type Fault struct {
	// Action is the name of the call: "RunInstances". Empty matches all.
	Action string

	// Region and Account are those of the call. Empty matches all.
	Region  string
	Account string

	// Match reports whether a call with these parameters matches. It must not
	// call the server. If nil, all calls match.
	Match func(url.Values) bool

	// Nth is the first matching call to fail, counting from 1. Zero means 1.
	Nth int

	// Times is how many matching calls fail, starting with the Nth. Zero means
	// one, or all for a capacity fault; negative means all.
	Times int

	// When is the moment of the failure. The zero value is Before.
	When When

	// Code and Message are the error returned. If Code is empty, the connection
	// is closed without a response. If Message is empty, it is a fixed text.
	Code    string
	Message string

	// Denied makes the error an UnauthorizedOperation with an encoded message,
	// and overrides Code and Message.
	Denied *Denial

	// Status is the HTTP status of the error. Zero means that of AWS: 500 or
	// 503 for server errors, 403 for "UnauthorizedOperation", 400 for others.
	Status int

	// InstanceType, Zone and Market select the launches of a capacity fault.
	// Empty matches all. With the Code "Unsupported" the type is not offered at
	// all.
	InstanceType string
	Zone         string
	Market       Market
}

type fault struct {
	Fault

	seen int
}

// Fail adds a fault. The first matching fault, in the order they were added,
// decides about a call.
func (s *Server) Fail(rule Fault) {
	if rule.Nth == 0 {
		rule.Nth = 1
	}
	if rule.Times == 0 {
		rule.Times = 1
		if rule.isCapacity() {
			rule.Times = -1
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{Fault: rule})
}

// Mend removes all faults.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (f *Fault) isCapacity() bool { return f.InstanceType != "" || f.Zone != "" || f.Market != "" }

// hit counts a matching call and reports whether it fails.
func (f *fault) hit() bool {
	f.seen++
	return f.fails(f.seen)
}

func (f *fault) fails(nth int) bool {
	return nth >= f.Nth && (f.Times < 0 || nth < f.Nth+f.Times)
}

// faultFor returns the fault that applies to a call, or nil.
func (s *Server) faultFor(req *request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.isCapacity() || f.Action != "" && f.Action != req.action || f.Region != "" && f.Region != req.region ||
			f.Account != "" && f.Account != req.account || f.Match != nil && !f.Match(req.form) {
			continue
		}
		if f.hit() {
			found := f.Fault
			return &found
		}
	}
	return nil
}

// faultResponse returns the response of a call to which a fault applies.
func (s *Server) faultResponse(req *request, f *Fault) response {
	if f.Denied != nil {
		message, err := f.Denied.message(req.action, s.callerARN(req))
		if err != nil {
			return s.errorResponse(req, err)
		}
		return s.errorResponse(req, &ec2query.Error{Code: "UnauthorizedOperation", Message: message, Status: statusOf("UnauthorizedOperation")})
	}
	if f.Code == "" {
		return response{code: "ConnectionLost"}
	}
	return s.errorResponse(req, f.error("Error caused by a Fault of ec2test."))
}

// error returns the fault's error. The message is used if the fault has none.
func (f *Fault) error(message string) *ec2query.Error {
	err := &ec2query.Error{Code: f.Code, Message: cmp.Or(f.Message, message), Status: f.Status}
	if err.Status == 0 {
		err.Status = statusOf(f.Code)
	}
	return err
}

// statusOf returns AWS's HTTP status for an error code.
func statusOf(code string) int {
	switch code {
	case "InternalError", "InternalFailure", "InsufficientInstanceCapacity":
		return http.StatusInternalServerError
	case "RequestLimitExceeded", "Unavailable", "ServiceUnavailable":
		return http.StatusServiceUnavailable
	case "UnauthorizedOperation":
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}
