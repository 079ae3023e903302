package ec2test

import (
	"context"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// action is a call that the server implements.
type action struct {
	name    string
	input   reflect.Type
	output  reflect.Type
	filters []string // accepted filters, for the coverage page
	json    bool     // of a JSON protocol rather than the query protocol
	ebs     bool     // of the EBS direct APIs
	run     func(c *call, req *request) (any, *ec2query.Error)
}

// handle returns an action of the query protocol that decodes its parameters
// and calls f with the region locked.
func handle[In, Out any](name string, f func(*call, *In) (*Out, *ec2query.Error), filters ...string) action {
	return action{
		name:    name,
		input:   reflect.TypeFor[In](),
		output:  reflect.TypeFor[Out](),
		filters: filters,
		run: func(c *call, req *request) (any, *ec2query.Error) {
			in := new(In)
			dry, err := ec2query.Decode(req.form, in)
			if err != nil {
				return nil, err
			}
			c.dry = dry
			out, err := f(c, in)
			if err == nil && dry {
				err = ec2query.DryRun()
			}
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// call is a call in progress. Its methods implement the actions.
type call struct {
	*region

	action   action
	account  string
	now      time.Time
	form     url.Values
	dry      bool
	viewSeed uint64 // decides which new resources this call sees; zero means none
	deferred []func(ctx context.Context) *ec2query.Error
}

// checkDryRun fails if the call is a dry run. Each action calls it after all
// other checks and before its first change.
func (c *call) checkDryRun() *ec2query.Error {
	if c.dry {
		return ec2query.DryRun()
	}
	return nil
}

// afterwards registers f to run after the region is unlocked and before the
// response is sent, for work that takes time or calls back into the server.
func (c *call) afterwards(f func(ctx context.Context) *ec2query.Error) {
	c.deferred = append(c.deferred, f)
}

// lockedIn runs f with another region locked instead of this one.
func (c *call) lockedIn(other *region, f func() *ec2query.Error) *ec2query.Error {
	if other == c.region {
		return f()
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	other.mu.Lock()
	defer other.mu.Unlock()
	return f()
}

// visibleAt returns when describe calls begin to show this call's changes.
func (c *call) visibleAt() time.Time { return c.now.Add(c.server.opts.Consistency) }

// newBase returns the base of a resource created by this call.
func (c *call) newBase(k kind, t tags) base {
	seq := c.server.nextSeq()
	return base{
		id:      newID(k.prefix, seq),
		seq:     seq,
		owner:   c.account,
		created: c.now,
		visible: c.visibleAt(),
		tags:    t,
	}
}

// token records the use of a client token.
type token struct {
	params string
	ids    []string
}

// usedToken returns the ids created by an earlier call with the same client
// token and parameters, or none. The empty token never matches.
func (c *call) usedToken(clientToken string) ([]string, *ec2query.Error) {
	if clientToken == "" {
		return nil, nil
	}
	if len(clientToken) > 64 {
		return nil, ec2query.InvalidValue("ClientToken", clientToken, "It must have at most 64 characters.")
	}
	known, ok := c.tokens[c.tokenKey(clientToken)]
	if !ok {
		return nil, nil
	}
	if known.params != c.canonical() {
		return nil, ec2query.Errorf("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	return known.ids, nil
}

// rememberToken records the ids created by a call with a client token.
func (c *call) rememberToken(clientToken string, ids ...string) {
	if clientToken != "" {
		c.tokens[c.tokenKey(clientToken)] = token{params: c.canonical(), ids: ids}
	}
}

func (c *call) tokenKey(clientToken string) string {
	return c.account + " " + c.action.name + " " + clientToken
}

func (c *call) canonical() string {
	plain := make(url.Values, len(c.form))
	for key, values := range c.form {
		if !ec2query.IsProtocolKey(key) && key != "DryRun" {
			plain[key] = values
		}
	}
	return plain.Encode()
}

// locked runs f with the region locked and the call's time set.
func (c *call) locked(f func() (any, *ec2query.Error)) (any, *ec2query.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.server.now()
	if seed := c.server.opts.ConsistencySeed; seed != 0 {
		c.viewSeed = scramble(seed + c.server.nextSeq())
	}
	c.accountState(c.account)
	c.sweep(c.now)
	if err := c.throttle(); err != nil {
		return nil, err
	}
	c.maintain()
	return f()
}

// inSet checks that a value is empty or one of the allowed ones.
func inSet(name, value string, allowed ...string) *ec2query.Error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return ec2query.InvalidValue(name, value, "")
}
