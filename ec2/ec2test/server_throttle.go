package ec2test

import (
	"strings"
	"time"

	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// bucket is a token bucket at the time of its last use.
type bucket struct {
	level float64
	seen  time.Time
}

// take takes n tokens, or none.
func (r *region) take(key string, of awsapi.Rate, n int, now time.Time) bool {
	b := r.buckets[key]
	if b == nil {
		b = &bucket{level: of.Burst, seen: now}
		r.buckets[key] = b
	}
	b.level = min(of.Burst, b.level+now.Sub(b.seen).Seconds()*of.PerSecond)
	b.seen = now
	if b.level < float64(n) {
		return false
	}
	b.level -= float64(n)
	return true
}

// throttle takes a request token.
func (c *call) throttle() *ec2query.Error {
	if !c.server.opts.Throttle {
		return nil
	}
	if c.action.ebs {
		return c.throttleBlocks()
	}
	key, of := c.account+" "+c.action.name, awsapi.Documented(c.action.name, false).Requests
	if smaller := awsapi.Documented(c.action.name, true).Requests; smaller != of && c.isUnfiltered() {
		key, of = key+" open", smaller
	}
	if !c.take(key, of, 1, c.now) {
		return ec2query.Throttled()
	}
	return nil
}

// isUnfiltered reports whether a describe call asks for all resources, for
// which AWS has a smaller bucket.
func (c *call) isUnfiltered() bool {
	for key := range c.form {
		if strings.HasPrefix(key, "Filter.") || key == "MaxResults" || strings.Contains(key, "Id.") || strings.Contains(key, "Name.") {
			return false
		}
	}
	return true
}

// takeResourceTokens takes tokens for n resources that the action changes.
func (c *call) takeResourceTokens(action string, n int) *ec2query.Error {
	if !c.server.opts.Throttle {
		return nil
	}
	if !c.take(c.account+" resources of "+action, awsapi.Documented(action, false).Resources, n, c.now) {
		return ec2query.Throttled()
	}
	return nil
}
