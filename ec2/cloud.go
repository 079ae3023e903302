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
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
	"github.com/bakestone-go/bakestone/internal/poll"
)

// A Cloud is one AWS account as its credentials see it. All Builders of a
// process should share one: then all builds share its waits and its limits of
// API calls, region by region. It is safe for use by several goroutines.
type Cloud struct {
	config   aws.Config
	options  CloudOptions
	schedule awsapi.Schedule

	role      string // that Assume made it of
	assumedBy *Cloud

	account *shared[string] // its id

	mu        sync.Mutex
	regions   map[string]*region
	accountID string // once it was asked for
}

// CloudOptions are what a Cloud needs besides the SDK's configuration. The
// zero value works with AWS.
type CloudOptions struct {
	// Dial reaches the SSH port of instances. Nil is a net.Dialer's.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// SourceAddress is the address that instances see the baking host come
	// from; a temporary security group lets in nothing else. Nil asks
	// checkip.amazonaws.com.
	SourceAddress func(ctx context.Context) (netip.Addr, error)

	// PollInterval is the time between two requests for the state of what is
	// waited for: one request for all of a region's instances, and one for its
	// images. Zero is two seconds.
	PollInterval time.Duration

	// SettleTime is how long EC2 may take to show what it has created. Looking
	// for something whose creation was never answered takes that long. Zero is
	// ten seconds.
	SettleTime time.Duration

	// CallTimeout bounds one attempt of an API call. Zero is 30 seconds.
	CallTimeout time.Duration

	// MaxRetryDelay bounds the pause before a call is tried again. Zero is five
	// seconds.
	MaxRetryDelay time.Duration

	// CallLimits replace, by the names of actions, the rates that AWS documents,
	// for an account whose quotas were changed. Nil changes none.
	CallLimits map[string]CallLimit

	// NoCallLimits sends API calls as fast as they come, for an endpoint that
	// is not AWS, such as that of ec2test. By default each action keeps to the
	// rate that AWS documents.
	NoCallLimits bool

	// Clock is the time to live by. Nil is the real time.
	Clock clock.Clock
}

// A CallLimit is the rate of one API action in one region. A zero Rate is what
// AWS documents.
type CallLimit struct {
	Requests  Rate // calls
	Resources Rate // instances that the calls launch, start, stop or terminate
}

// A Rate is a token bucket: Burst calls at once, and PerSecond in the long run.
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
)

// NewCloud returns the account that cfg has credentials for. A nil o is the
// zero value. It does no I/O.
func NewCloud(cfg aws.Config, o *CloudOptions) *Cloud {
	c := &Cloud{config: cfg, regions: map[string]*region{}}
	if o != nil {
		c.options = *o
	}
	if c.options.Dial == nil {
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
	}
	return c
}

// limiter returns the buckets of all regions; nil for none.
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

// Region is the region that cfg named.
func (c *Cloud) Region() string { return c.config.Region }

// Client returns the SDK's client for a region, empty for the Cloud's own. Its
// calls share the limits and retries of all builds.
func (c *Cloud) Client(region string) *awsec2.Client { return c.region(region).client }

// Config returns the configuration for a client of any AWS service in a region,
// empty for the Cloud's own. Its calls share the limits and retries of all
// builds, action by action:
//
//	groups := autoscaling.NewFromConfig(cloud.Config(""))
func (c *Cloud) Config(region string) aws.Config {
	cfg := c.schedule.Apply(c.config)
	if region != "" {
		cfg.Region = region
	}
	return cfg
}

// A region is what all builds in one region of an account share.
type region struct {
	name        string
	client      *awsec2.Client
	ssm         *ssm.Client
	iam         *iam.Client
	sts         *sts.Client
	kms         *kms.Client
	clock       clock.Clock
	settle      time.Duration
	interval    time.Duration // between two polls
	callTimeout time.Duration
	names       *poll.Poller[ec2types.Image] // of the account, by name
	instances   *poll.Poller[ec2types.Instance]
	images      *poll.Poller[ec2types.Image]
	snapshots   *poll.Poller[[]ec2types.Snapshot] // by build
	progress    *poll.Poller[[]ec2types.Snapshot] // the same, less often
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
		clock: c.options.Clock, settle: c.options.SettleTime, interval: c.options.PollInterval, callTimeout: c.options.CallTimeout, lookups: shared,
	}
	r.instances = newPoller(c.options, r.fetchInstances)
	r.images = newPoller(c.options, r.fetchImages)
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

// checkIP asks AWS which address it sees us come from.
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
	_ = answer.Body.Close() // it was read as far as it matters
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the baking host's address: %w", err)
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(string(body)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the baking host's address: %w", err)
	}
	return addr, nil
}
