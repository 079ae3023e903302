package amicleanup

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/bakestone-go/bakestone/amicleanup/inuse"
	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A Target is one region of one account. [Connect] and [Everywhere] return
// targets whose calls are limited to the rates that AWS documents.
type Target struct {
	// Account labels the account where there are several. It may be empty if
	// there is only one; the credentials of Config decide which account it is.
	Account string

	// Config has the region and the credentials. Its region is required. Every
	// client is made from it, also those of custom sources.
	Config aws.Config
}

// String returns "REGION", or "ACCOUNT/REGION" if the account has a label.
func (t Target) String() string { return place(t.Account, t.Config.Region) }

func (t Target) region() string { return t.Config.Region }

func (t Target) ec2() *awsec2.Client { return awsec2.NewFromConfig(t.Config) }

// place returns what sources get of the target.
func (t Target) place(c clock.Clock) inuse.Place { return inuse.Place{Config: t.Config, Clock: c} }

func place(account, region string) string {
	if account == "" {
		return region
	}
	return account + "/" + region
}

func validateTargets(targets []Target) error {
	var errs []error
	seen := map[string]bool{}
	if len(targets) == 0 {
		errs = append(errs, bake.Invalid("Targets", "at least one is required"))
	}
	for i, t := range targets {
		field := fmt.Sprintf("Targets[%d]", i)
		if t.region() == "" {
			errs = append(errs, bake.Invalid(field+".Config", "needs a region"))
		}
		if seen[t.String()] {
			errs = append(errs, bake.Invalid(field, "duplicate target %q", t))
		}
		seen[t.String()] = true
	}
	return errors.Join(errs...)
}

// ConnectOptions configures the calls of [Connect] and [Everywhere]. Nil means
// the zero value: calls are limited to the rate that AWS documents for one
// account and region.
type ConnectOptions struct {
	// Account is the label of the target.
	Account string

	// NoCallLimits lifts the call limits, for endpoints other than AWS and for
	// configurations that have limits.
	NoCallLimits bool

	// CallTimeout limits one attempt of a call. Zero means 30 seconds.
	CallTimeout time.Duration

	// MaxRetryDelay limits the pause before a retry. Zero means 20 seconds.
	MaxRetryDelay time.Duration

	// Clock tells time and sleeps. If nil, the system clock is used.
	Clock clock.Clock
}

const (
	defaultCallTimeout   = 30 * time.Second
	defaultMaxRetryDelay = 20 * time.Second
)

// schedule returns how the calls to one account are made.
func (o *ConnectOptions) schedule() awsapi.Schedule {
	s := awsapi.Schedule{
		Clock:       clock.OrSystem(o.Clock),
		CallTimeout: cmp.Or(o.CallTimeout, defaultCallTimeout),
		MaxBackoff:  cmp.Or(o.MaxRetryDelay, defaultMaxRetryDelay),
	}
	if !o.NoCallLimits {
		s.Limiter = awsapi.NewLimiter(s.Clock, nil)
	}
	return s
}

// Connect returns the target for the region and the credentials of cfg, with
// call limits and retries. It does no I/O. A program that also bakes shares the
// limits of its ec2.Cloud by connecting the configuration that Cloud.Config
// returns, with NoCallLimits.
func Connect(cfg aws.Config, o *ConnectOptions) Target {
	if o == nil {
		o = &ConnectOptions{}
	}
	return Target{Account: o.Account, Config: o.schedule().Apply(cfg)}
}

// Everywhere returns a target for each of the regions in each of the accounts.
// It calls config once per account; [AssumeRole] returns a suitable func. The
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
			targets = append(targets, Target{Account: account, Config: cfg})
		}
	}
	return targets, nil
}

// RoleOptions configures [AssumeRole]. Nil means the zero value.
type RoleOptions struct {
	ExternalID  string // the external id that the role's trust policy asks for
	SessionName string // shown in CloudTrail; the SDK chooses one if it is empty
}

// AssumeRole returns a func for [Everywhere] that assumes the role with this
// name, or path and name, in each account with the credentials of cfg. The
// partition of the role is that of cfg.Region. The role is assumed at the first
// call to a target, so a missing role affects only that account.
func AssumeRole(cfg aws.Config, role string, o *RoleOptions) func(account string) (aws.Config, error) {
	return func(account string) (aws.Config, error) {
		if role == "" || account == "" {
			return aws.Config{}, bake.Invalid("AssumeRole", "role %q and account %q must not be empty", role, account)
		}
		arn := "arn:" + partitionOf(cfg.Region) + ":iam::" + account + ":role/" + strings.TrimPrefix(role, "/")
		own := cfg.Copy()
		own.Credentials = awsapi.AssumeRole(sts.NewFromConfig(cfg), arn, func(to *stscreds.AssumeRoleOptions) {
			if o == nil {
				return
			}
			if o.ExternalID != "" {
				to.ExternalID = aws.String(o.ExternalID)
			}
			to.RoleSessionName = cmp.Or(o.SessionName, to.RoleSessionName)
		})
		return own, nil
	}
}

// partitionOf returns the AWS partition of a region.
func partitionOf(region string) string {
	for _, p := range []struct{ prefix, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"us-isob-", "aws-iso-b"}, {"us-isof-", "aws-iso-f"},
		{"eu-isoe-", "aws-iso-e"}, {"us-iso-", "aws-iso"}, {"eusc-", "aws-eusc"},
	} {
		if strings.HasPrefix(region, p.prefix) {
			return p.partition
		}
	}
	return "aws"
}
