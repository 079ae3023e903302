package amicleanup

import (
	"cmp"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/rbin"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// ConnectOptions are how the clients of a target call. A nil one and the zero
// value keep each action to the rate that AWS documents for one account and
// region.
type ConnectOptions struct {
	// Account is the label of the target.
	Account string

	// NoCallLimits sends calls as fast as they come: for an endpoint that is
	// not AWS, and for a configuration that has limits of its own.
	NoCallLimits bool

	// CallTimeout bounds one attempt of a call. Zero is 30 seconds.
	CallTimeout time.Duration

	// MaxRetryDelay bounds the pause before a call is tried again. Zero is 20
	// seconds.
	MaxRetryDelay time.Duration

	// Clock is the time to live by. Nil is the real time.
	Clock clock.Clock
}

const (
	defaultCallTimeout   = 30 * time.Second
	defaultMaxRetryDelay = 20 * time.Second
)

// schedule is how the calls to one account are made.
func (o *ConnectOptions) schedule() awsapi.Schedule {
	s := awsapi.Schedule{
		Clock:       o.Clock,
		CallTimeout: cmp.Or(o.CallTimeout, defaultCallTimeout),
		MaxBackoff:  cmp.Or(o.MaxRetryDelay, defaultMaxRetryDelay),
	}
	if s.Clock == nil {
		s.Clock = clock.System()
	}
	if !o.NoCallLimits {
		s.Limiter = awsapi.NewLimiter(s.Clock, nil)
	}
	return s
}

// Connect returns the target that cfg has the region and the credentials of,
// with every client that this package can use. It does no I/O. A program that
// also bakes shares the limits of its ec2.Cloud by connecting the configuration
// that Cloud.Config returns, with NoCallLimits.
func Connect(cfg aws.Config, o *ConnectOptions) Target {
	if o == nil {
		o = &ConnectOptions{}
	}
	return connect(o.schedule().Apply(cfg), o.Account)
}

func connect(cfg aws.Config, account string) Target {
	return Target{
		Account: account, Region: cfg.Region,
		Client: awsec2.NewFromConfig(cfg), RecycleBin: rbin.NewFromConfig(cfg), Scaling: autoscaling.NewFromConfig(cfg),
		Parameters: ssm.NewFromConfig(cfg), Clusters: eks.NewFromConfig(cfg),
	}
}

// Everywhere returns a target for each of the regions in each of the accounts.
// Config is asked once for each account: AssumeRole is the usual one. The
// account is the label of its targets; o.Account is not used.
func Everywhere(accounts, regions []string, config func(account string) (aws.Config, error), o *ConnectOptions) ([]Target, error) {
	if o == nil {
		o = &ConnectOptions{}
	}
	targets := make([]Target, 0, len(accounts)*len(regions))
	for _, account := range accounts {
		cfg, err := config(account)
		if err != nil {
			return nil, fmt.Errorf("account %s: %w", account, err)
		}
		cfg = o.schedule().Apply(cfg)
		for _, region := range regions {
			cfg.Region = region
			targets = append(targets, connect(cfg, account))
		}
	}
	return targets, nil
}

// AssumeRole gives Everywhere the role of this name in each account, assumed
// with the credentials of cfg. It is assumed at the first call to a target, so
// that a role that is missing is the trouble of that account only.
func AssumeRole(cfg aws.Config, role string) func(account string) (aws.Config, error) {
	return func(account string) (aws.Config, error) {
		if role == "" || account == "" {
			return aws.Config{}, bake.Invalid("AssumeRole", "needs a role and an account, not %q and %q", role, account)
		}
		arn := "arn:aws:iam::" + account + ":role/" + role
		own := cfg.Copy()
		own.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), arn))
		return own, nil
	}
}
