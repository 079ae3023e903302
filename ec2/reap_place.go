package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/bakestone-go/bakestone/bake/clock"
)

// A reapPlace is a region of an account or, without a name, its IAM.
type reapPlace struct {
	reaper  *Reaper
	account string
	name    string
	region  *region
	mu      *sync.Mutex // guards what all places add to
}

func (p *reapPlace) global() bool { return p.name == "" }

// A reapKind is a kind of resource that builds create.
type reapKind struct {
	name string // as in Leftover.Kind

	// see describes the resources with the ids. It leaves out those that are gone or
	// about to be. going has the ids that are to be removed of the kinds before.
	see func(ctx context.Context, ids []string, going map[string]bool) (sightings, error)

	// remove removes one. It succeeds if it no longer exists.
	remove func(ctx context.Context, id string) error
}

// A sighting is what a describe call shows of a resource.
type sighting struct {
	tags map[string]string
	used string // why it cannot be removed
}

// sightings are the resources that describe calls show, and AWS's time of the calls.
type sightings struct {
	byID map[string]sighting
	at   serverTime
}

// A serverTime is the earliest time that responses of AWS tell.
type serverTime struct{ time.Time }

// errNoDate is returned if no response tells the time.
var errNoDate = errors.New("responses have no Date: what has expired is not known")

func (t *serverTime) see(m middleware.Metadata) {
	if at, ok := awsmiddleware.GetServerTime(m); ok && !at.IsZero() && (t.IsZero() || at.Before(t.Time)) {
		t.Time = at
	}
}

// kinds returns the kinds of a place in the order of their removal: each may be in use
// by those before it.
func (p *reapPlace) kinds() []reapKind {
	if p.global() {
		return []reapKind{
			{"instance profile", p.seeProfiles, p.removeProfile},
			{"role", p.seeRoles, p.removeRole},
		}
	}
	return []reapKind{
		{"instance", p.seeInstances, p.removeInstance},
		{"volume", p.seeVolumes, p.removeVolume},
		{"network interface", p.seeInterfaces, p.removeInterface},
		{"security group", p.seeGroups, p.removeGroup},
		{"image", p.seeImages, p.region.deregister},
		{"snapshot", p.seeSnapshots, p.removeSnapshot},
	}
}

// plan returns what has expired, and AWS's time.
func (p *reapPlace) plan(ctx context.Context) ([]Leftover, time.Time, error) {
	find := p.findTagged
	if p.global() {
		find = p.findNamed
	}
	found, at, err := find(ctx)
	if err != nil || len(found) == 0 {
		return nil, at, err
	}
	living := p.census()
	var items []Leftover
	errs := []error{}
	going := map[string]bool{}
	for _, k := range p.kinds() {
		some, err := p.judge(ctx, k, found[k.name], going, living)
		items, errs = append(items, some...), append(errs, err)
		delete(found, k.name)
	}
	for kind, ids := range found {
		for _, id := range ids {
			items = append(items, Leftover{Account: p.account, Region: p.name, Kind: kind, ID: id, Kept: "builds do not create this kind of resource"})
		}
	}
	return items, at, errors.Join(errs...)
}

// findTagged returns the ids of the resources whose expiry tag has passed, by kind.
func (p *reapPlace) findTagged(ctx context.Context) (map[string][]string, time.Time, error) {
	const resources = 1000
	found := map[string][]string{}
	var at serverTime
	pages := awsec2.NewDescribeTagsPaginator(p.region.client, &awsec2.DescribeTagsInput{
		Filters: []ec2types.Filter{filter("key", TagExpires)}, MaxResults: aws.Int32(resources),
	})
	err := eachPage(ctx, pages, func(page *awsec2.DescribeTagsOutput) {
		at.see(page.ResultMetadata)
		for _, t := range page.Tags {
			expires, err := time.Parse(time.RFC3339, aws.ToString(t.Value))
			if err == nil && at.Before(expires.Add(p.reaper.grace())) {
				continue
			}
			kind := strings.ReplaceAll(string(t.ResourceType), "-", " ")
			found[kind] = append(found[kind], aws.ToString(t.ResourceId))
		}
	})
	if err == nil && at.IsZero() {
		err = errNoDate
	}
	return found, at.Time, err
}

// judge describes the resources and returns those that have expired, with the reasons
// to keep some. It adds the ids of the others to going.
func (p *reapPlace) judge(ctx context.Context, k reapKind, ids []string, going map[string]bool, living *census) ([]Leftover, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	seen, err := k.see(ctx, ids, going)
	if err != nil {
		return nil, fmt.Errorf("read each %s: %w", k.name, err)
	}
	if len(seen.byID) > 0 && seen.at.IsZero() {
		return nil, errNoDate
	}
	var items []Leftover
	var errs []error
	for _, id := range ids {
		s, there := seen.byID[id]
		tag, temporary := s.tags[TagExpires]
		if !there || !temporary { // gone, or promoted
			continue
		}
		l := Leftover{Account: p.account, Region: p.name, Kind: k.name, ID: id, Build: s.tags[TagBuild], Image: s.tags[TagImage]}
		var unreadable error
		if l.Expires, unreadable = time.Parse(time.RFC3339, tag); unreadable != nil {
			l.Kept = fmt.Sprintf("tag %s is not a time: %q", TagExpires, tag)
		} else if seen.at.Before(l.Expires.Add(p.reaper.grace())) {
			continue
		}
		alive, err := living.of(ctx, l.Build)
		errs = append(errs, err)
		switch {
		case l.Kept != "":
		case l.Build == "":
			l.Kept = "it has no tag " + TagBuild
		case alive.unknown:
			l.Kept = "whether a process is at work on the build is not known"
		case alive.is:
			l.Kept = "a process is at work on the build"
		default:
			l.Kept = s.used
		}
		if l.Kept == "" {
			going[id] = true
		}
		items = append(items, l)
	}
	return items, errors.Join(errs...)
}

// A census remembers what Reaper.Living says about each build.
type census struct {
	ask   func(ctx context.Context, build string) (bool, error)
	known map[string]alive
}

type alive struct {
	is      bool
	unknown bool
}

// census returns a new one.
func (p *reapPlace) census() *census { return &census{ask: p.reaper.Living, known: map[string]alive{}} }

// of reports whether a process is at work on a build, given by the id of one of its
// sessions: that of the check machine begins with the build's. The error is returned
// once.
func (c *census) of(ctx context.Context, session string) (alive, error) {
	build := strings.TrimSuffix(session, "-check")
	if c.ask == nil || build == "" {
		return alive{}, nil
	}
	if a, ok := c.known[build]; ok {
		return a, nil
	}
	is, err := c.ask(ctx, build)
	a := alive{is: is, unknown: err != nil}
	c.known[build] = a
	if err != nil {
		return a, fmt.Errorf("find out whether build %s lives: %w", build, err)
	}
	return a, nil
}

const (
	reapChunk    = 50 // resources read again before they are removed
	reapParallel = 16 // removed at once
	reapTimeout  = 10 * time.Minute
)

// apply removes what the plan lists for this place.
func (p *reapPlace) apply(ctx context.Context, plan *ReapPlan) (removed, kept []Leftover, err error) {
	planned := map[string][]string{}
	for _, l := range plan.Items {
		if l.Account == p.account && l.Region == p.name && l.Kept == "" {
			planned[l.Kind] = append(planned[l.Kind], l.ID)
		}
	}
	var errs []error
	going := map[string]bool{}
	for _, k := range p.kinds() {
		for ids := range slices.Chunk(planned[k.name], reapChunk) {
			if err := context.Cause(ctx); err != nil {
				return removed, kept, errors.Join(append(errs, err)...)
			}
			items, err := p.judge(ctx, k, ids, going, p.census())
			errs = append(errs, err)
			for _, l := range items {
				if l.Kept != "" {
					kept = append(kept, l)
				}
			}
			done, err := p.removeAll(ctx, k, slices.DeleteFunc(items, func(l Leftover) bool { return l.Kept != "" }))
			removed, errs = append(removed, done...), append(errs, err)
		}
	}
	return removed, kept, errors.Join(errs...)
}

// removeAll removes resources of one kind, some at once.
func (p *reapPlace) removeAll(ctx context.Context, k reapKind, items []Leftover) ([]Leftover, error) {
	errs := make([]error, len(items))
	var all errgroup.Group
	all.SetLimit(reapParallel)
	for i, l := range items {
		all.Go(func() error {
			if errs[i] = context.Cause(ctx); errs[i] != nil {
				return nil
			}
			limited, stop := clock.WithTimeout(ctx, p.region.clock, reapTimeout)
			defer stop()
			if err := k.remove(limited, l.ID); err != nil {
				errs[i] = &ReapError{Leftover: l, Err: err}
			}
			return nil
		})
	}
	_ = all.Wait() // the errors are in errs
	var done []Leftover
	for i, l := range items {
		if errs[i] == nil {
			done = append(done, l)
		}
	}
	return done, errors.Join(errs...)
}
