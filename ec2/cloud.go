package ec2

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/internal/ebsdirect"
	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/poll"
)

// A Cloud is an AWS account accessed with certain credentials. The Builders of a
// process should share one Cloud, so that all builds share its polling and its rate
// limits in each region. It is safe for concurrent use.
type Cloud struct {
	config   aws.Config
	options  CloudOptions
	dials    bool // CloudOptions.Dial was given
	schedule awsapi.Schedule

	role      string // assumed by assumedBy, see Assume
	assumedBy *Cloud

	account *shared[string] // looks up accountID

	mu        sync.Mutex
	regions   map[string]*region
	accountID string // empty until first needed
}

// CloudOptions configure a Cloud. The zero value works with AWS.
type CloudOptions struct {
	// Dial connects to the SSH port of instances. If nil, a net.Dialer is used.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// SourceAddress returns the address from which instances see the baking host
	// connect; a temporary security group admits only it. If nil, the address is
	// requested from checkip.amazonaws.com.
	SourceAddress func(ctx context.Context) (netip.Addr, error)

	// PollInterval is the time between two polling requests. One request covers
	// all instances of a region that builds wait for, another all its images.
	// Zero means two seconds.
	PollInterval time.Duration

	// SettleTime is how long EC2 may take to show a new resource. Looking for a
	// resource whose creation was never confirmed takes that long. Zero means ten
	// seconds.
	SettleTime time.Duration

	// CallTimeout limits each attempt of an API call. Zero means 30 seconds.
	CallTimeout time.Duration

	// MaxRetryDelay limits the pause before a call is retried. Zero means five
	// seconds.
	MaxRetryDelay time.Duration

	// CallLimits override, by action, the rates that AWS documents, for accounts
	// with other quotas. Nil overrides none.
	CallLimits map[string]CallLimit

	// NoCallLimits disables rate limits, for endpoints other than AWS, such as
	// ec2test's. By default each action keeps to the rate that AWS documents.
	NoCallLimits bool

	// Clock tells time and sleeps. If nil, the system clock is used.
	Clock clock.Clock
}

// A CallLimit is the rate of an API action in a region. A zero Rate means the one
// that AWS documents.
type CallLimit struct {
	Requests  Rate // calls
	Resources Rate // instances that the calls launch, start, stop or terminate
}

// A Rate is a token bucket of Burst calls, refilled at PerSecond.
type Rate struct {
	Burst     int
	PerSecond float64
}

const (
	defaultPollInterval = 2 * time.Second
	defaultSettleTime   = 10 * time.Second
	defaultCallTimeout  = 30 * time.Second
	defaultRetryDelay   = 5 * time.Second
	pollGap             = 100 * time.Millisecond
	ebsRetryPart        = 10 // of MaxRetryDelay, between attempts at a block
)

// NewCloud returns the account that cfg has credentials for. If o is nil, the zero
// value is used. NewCloud does no I/O.
func NewCloud(cfg aws.Config, o *CloudOptions) *Cloud {
	c := &Cloud{config: cfg, regions: map[string]*region{}}
	if o != nil {
		c.options = *o
	}
	c.dials = c.options.Dial != nil
	if !c.dials {
		c.options.Dial = new(net.Dialer).DialContext
	}
	if c.options.SourceAddress == nil {
		c.options.SourceAddress = c.checkIP
	}
	for field, value := range map[*time.Duration]time.Duration{
		&c.options.PollInterval:  defaultPollInterval,
		&c.options.SettleTime:    defaultSettleTime,
		&c.options.CallTimeout:   defaultCallTimeout,
		&c.options.MaxRetryDelay: defaultRetryDelay,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if c.options.Clock == nil {
		c.options.Clock = clock.System()
	}
	c.account = newShared[string](c.options)
	c.schedule = awsapi.Schedule{
		Limiter: c.options.limiter(), Clock: c.options.Clock,
		CallTimeout: c.options.CallTimeout, MaxBackoff: c.options.MaxRetryDelay,
		Allow: bake.CheckLease, Report: reportCall,
	}
	return c
}

// reportCall reports an attempt of an API call as an event of the build that made it.
func reportCall(ctx context.Context, a awsapi.Attempt) {
	e := bake.Event{Kind: bake.APICalled, Text: a.Service + " " + a.Action, Attempt: a.Number, Elapsed: a.Elapsed}
	if a.Err != nil {
		e.Err = a.Err.Error()
	}
	bake.RunFromContext(ctx).Emit(e)
}

// limiter returns the rate limiter of all regions, or nil if there are no limits.
func (o *CloudOptions) limiter() *awsapi.Limiter {
	if o.NoCallLimits {
		return nil
	}
	limits := make(map[string]awsapi.Limit, len(o.CallLimits))
	for action, limit := range o.CallLimits {
		limits[action] = awsapi.Limit{Requests: limit.Requests.bucket(), Resources: limit.Resources.bucket()}
	}
	return awsapi.NewLimiter(o.Clock, limits)
}

func (r Rate) bucket() awsapi.Rate {
	return awsapi.Rate{Burst: float64(r.Burst), PerSecond: r.PerSecond}
}

// Region returns the region of the configuration.
func (c *Cloud) Region() string { return c.config.Region }

// Client returns the SDK's EC2 client for a region. Empty means the Cloud's region.
// Its calls share the rate limits and the retry policy of all builds.
func (c *Cloud) Client(region string) *awsec2.Client { return c.region(region).client }

// Config returns the SDK's configuration for a client of any AWS service in a
// region. Empty means the Cloud's region. Calls of such clients share the rate
// limits and the retry policy of all builds:
//
//	groups := autoscaling.NewFromConfig(cloud.Config(""))
func (c *Cloud) Config(region string) aws.Config {
	cfg := c.schedule.Apply(c.config)
	if region != "" {
		cfg.Region = region
	}
	return cfg
}

// A region holds what all builds in one region of an account share.
type region struct {
	name        string
	client      *awsec2.Client
	ssm         *ssm.Client
	iam         *iam.Client
	sts         *sts.Client
	kms         *kms.Client
	ebs         *ebsdirect.Client
	scaling     *autoscaling.Client
	clock       clock.Clock
	settle      time.Duration
	interval    time.Duration // between two polls
	callTimeout time.Duration
	names       *poll.Poller[ec2types.Image] // the account's images by name
	instances   *poll.Poller[ec2types.Instance]
	images      *poll.Poller[ec2types.Image]
	groups      *poll.Poller[ec2types.SecurityGroup]
	snapshots   *poll.Poller[[]ec2types.Snapshot] // by build
	progress    *poll.Poller[[]ec2types.Snapshot] // by build, less often
	lookups     lookups
}

func (c *Cloud) region(name string) *region {
	if name == "" {
		name = c.config.Region
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.regions[name]; ok {
		return r
	}
	cfg := c.Config(name)
	tokens := sts.NewFromConfig(cfg)
	shared := newLookups(c.options)
	cfg.APIOptions = append(cfg.APIOptions, shared.writes.watch, (&decoder{tokens}).watch)
	r := &region{
		name: name, client: awsec2.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg), sts: tokens, iam: iam.NewFromConfig(cfg), kms: kms.NewFromConfig(cfg),
		scaling: autoscaling.NewFromConfig(cfg),
		clock:   c.options.Clock, settle: c.options.SettleTime, interval: c.options.PollInterval, callTimeout: c.options.CallTimeout, lookups: shared,
	}
	r.ebs = ebsdirect.New(cfg, c.options.Clock, c.options.MaxRetryDelay/ebsRetryPart)
	r.instances = newPoller(c.options, r.fetchInstances)
	r.images = newPoller(c.options, r.fetchImages)
	r.groups = newPoller(c.options, r.fetchGroups)
	r.names = newPoller(c.options, r.fetchNamed)
	r.snapshots = newPoller(c.options, r.fetchSnapshots)
	r.progress = newPoller(c.options, r.fetchSnapshots)
	r.progress.Interval = r.pollIntervals(progressEvery)
	c.regions[name] = r
	return r
}

func newPoller[T any](o CloudOptions, fetch func(context.Context, []string) (map[string]T, error)) *poll.Poller[T] {
	return &poll.Poller[T]{Fetch: fetch, Clock: o.Clock, Interval: o.PollInterval, Gap: pollGap}
}

// checkIP returns the baking host's public address as AWS sees it.
func (c *Cloud) checkIP(ctx context.Context) (netip.Addr, error) {
	const url = "https://checkip.amazonaws.com/"
	const longestAnswer = 64
	ctx, stop := clock.WithTimeout(ctx, c.options.Clock, c.options.CallTimeout)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return netip.Addr{}, err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the baking host's address: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, longestAnswer))
	_ = answer.Body.Close() // already read
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the baking host's address: %w", err)
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(string(body)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the baking host's address: %w", err)
	}
	return addr, nil
}
