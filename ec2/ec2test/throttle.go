package ec2test

import (
	"strings"
	"time"
)

// rate is the size of a token bucket and what flows in per second.
type rate struct {
	size   float64
	refill float64
}

// requestRate is the bucket of an action by AWS's documentation of request
// throttling. The last parameter tells whether a describe has neither filters
// nor paging nor ids, which has a smaller bucket.
func requestRate(action string, open bool) (key string, r rate) {
	switch action {
	case "RunInstances", "StartInstances":
		return action, rate{5, 2}
	case "TerminateInstances", "CreateLaunchTemplateVersion", "DeregisterImage", "DeleteSnapshot", "ModifyImageAttribute":
		return action, rate{100, 5}
	case "CreateTags", "DeleteTags":
		return action, rate{100, 10}
	case "DescribeSpotFleetRequests":
		return action, rate{50, 3}
	case "AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress", "CreateKeyPair":
		return action, rate{50, 5} // resource-intensive
	case "CopyImage":
		return action, rate{100, 1}
	}
	if strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get") {
		if open {
			return action + " open", rate{50, 10}
		}
		return action, rate{100, 20}
	}
	return action, rate{50, 5}
}

// resourceRate is the bucket of the resources that an action changes.
func resourceRate(action string) rate {
	switch action {
	case "TerminateInstances", "StopInstances":
		return rate{1000, 20}
	}
	return rate{1000, 2}
}

// bucket is a token bucket at the time it was last looked at.
type bucket struct {
	level float64
	seen  time.Time
}

// take takes n tokens, or none.
func (r *region) take(key string, of rate, n int, now time.Time) bool {
	b := r.buckets[key]
	if b == nil {
		b = &bucket{level: of.size, seen: now}
		r.buckets[key] = b
	}
	b.level = min(of.size, b.level+now.Sub(b.seen).Seconds()*of.refill)
	b.seen = now
	if b.level < float64(n) {
		return false
	}
	b.level -= float64(n)
	return true
}

// throttle takes the token of the request.
func (c *call) throttle() *apiError {
	if !c.server.opts.Throttle {
		return nil
	}
	key, of := requestRate(c.action.name, c.open())
	if !c.take(c.account+" "+key, of, 1, c.now) {
		return throttled()
	}
	return nil
}

// open tells whether a describe asks for everything at once.
func (c *call) open() bool {
	for key := range c.form {
		if strings.HasPrefix(key, "Filter.") || key == "MaxResults" || strings.Contains(key, "Id.") || strings.Contains(key, "Name.") {
			return false
		}
	}
	return true
}

// spend takes the tokens of n resources that the action changes.
func (c *call) spend(action string, n int) *apiError {
	if !c.server.opts.Throttle {
		return nil
	}
	if !c.take(c.account+" resources of "+action, resourceRate(action), n, c.now) {
		return throttled()
	}
	return nil
}
