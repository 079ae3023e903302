package ec2test

import (
	"net/http"
	"net/url"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// When is the moment of a call at which a Fault strikes: Before, After or Hang.
type When int

// The moments of a fault.
const (
	// Before fails the call before it has any effect. It is the zero value.
	Before When = iota

	// After lets the call take effect, and then loses its answer, or replaces
	// it by the error of Code.
	After

	// Hang never answers: until the client gives up, or the server closes. The
	// call has no effect.
	Hang
)

// A Fault is a rule by which calls fail. The fields that choose calls are
// joined by and; the zero value of each matches everything. A capacity fault
// is one with InstanceType, Zone or Market: RunInstances and StartInstances of
// that type, there, fail with InsufficientInstanceCapacity or Code. See also
// Server.SetCapacity.
type Fault struct {
	// Action is the call to fail: "RunInstances". Empty is any.
	Action string

	// Region and Account limit it to calls there, and by it.
	Region  string
	Account string

	// Match, when set, is asked with the parameters of the call. It must not
	// call the server.
	Match func(url.Values) bool

	// Nth is the first matching call that fails, counted from 1. Zero is 1.
	Nth int

	// Times is how many matching calls fail, from the Nth on. Zero is one, and
	// a negative number is all of them.
	Times int

	// When is at which moment.
	When When

	// Code and Message are the error. With no Code, the connection is closed
	// without an answer.
	Code    string
	Message string

	// Denied makes the error an UnauthorizedOperation that tells, encoded, what
	// was not allowed. Code and Message are not used then.
	Denied *Denial

	// Status is the HTTP status of the error. Zero is what AWS uses for the
	// usual codes: 500 or 503 for faults of its own, 403 for
	// "UnauthorizedOperation", 400 for the rest.
	Status int

	// InstanceType, Zone and Market make a capacity fault. Nth and Times count
	// the launches that would have used them; Times zero is all of them here.
	// With the Code "Unsupported", what is matched is not offered at all.
	InstanceType string
	Zone         string
	Market       Market
}

type fault struct {
	Fault

	seen int
}

// Fail adds a rule. Rules are asked in the order they were added; the first
// one that strikes decides.
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

// Mend removes every rule.
func (s *Server) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (f *Fault) isCapacity() bool { return f.InstanceType != "" || f.Zone != "" || f.Market != "" }

// strikes counts a matching call, and tells whether it fails.
func (f *fault) hit() bool {
	f.seen++
	return f.fails(f.seen)
}

func (f *fault) fails(nth int) bool {
	return nth >= f.Nth && (f.Times < 0 || nth < f.Nth+f.Times)
}

// faultFor is the rule that a call falls under, or nil.
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

// faultAnswer is the answer of a call that falls under a rule.
func (s *Server) faultAnswer(req *request, f *Fault) answer {
	if f.Denied != nil {
		message, err := f.Denied.message(req.action, s.callerARN(req))
		if err != nil {
			return s.errorAnswer(req, err)
		}
		return s.errorAnswer(req, &ec2query.Error{Code: "UnauthorizedOperation", Message: message, Status: statusOf("UnauthorizedOperation")})
	}
	if f.Code == "" {
		return answer{code: "ConnectionLost"}
	}
	return s.errorAnswer(req, f.error("This error was asked for by a Fault."))
}

// error is the error of the rule, with another message when it has none.
func (f *Fault) error(message string) *ec2query.Error {
	err := &ec2query.Error{Code: f.Code, Message: orText(f.Message, message), Status: f.Status}
	if err.Status == 0 {
		err.Status = statusOf(f.Code)
	}
	return err
}

// statusOf is the HTTP status with which AWS answers an error.
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
