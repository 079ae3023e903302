package service

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
	"github.com/bakestone-go/bakestone/internal/maintenance"
)

// A Lock excludes other processes from the same work.
type Lock interface {
	// Acquire takes the lock. The error wraps ErrLocked if another process holds
	// it. Release releases the lock and is called once.
	Acquire(ctx context.Context) (release func(ctx context.Context) error, err error)

	// IAMPolicy returns the permissions that the lock needs, or nil.
	IAMPolicy() *iampolicy.Document
}

// ErrLocked is wrapped by the error of Acquire if another process holds the lock.
var ErrLocked = maintenance.ErrLocked

// A ParameterLock is a [Lock] that is a parameter of Systems Manager. The process
// that creates the parameter holds the lock, and deletes it afterwards. A process
// that died loses the lock after a time. The parameter costs nothing.
//
// The lock saves work. Images are safe without it: concurrent runs read every image
// again before they change it.
type ParameterLock struct {
	// Config has the region of the lock and the credentials. It is required.
	Config aws.Config

	// Name is the name of the parameter: "/amicleanup/lock". It is required.
	Name string

	// Holder describes this process to others: a host, a job.
	Holder string

	// For is how long the lock is held at most. Another process takes over an
	// older lock, so it has to be longer than any run. Zero means six hours.
	For time.Duration

	// Clock tells time and sleeps. If nil, the system clock is used.
	Clock clock.Clock
}

var _ Lock = (*ParameterLock)(nil)

const (
	defaultLockTime = 6 * time.Hour

	// If two processes take over an old lock at the same time, the last write
	// wins. Each reads again after this time, and does not write if its first
	// read is older than half of it.
	lockSettles = 10 * time.Second
)

// lockValue is the parameter's value.
type lockValue struct {
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until"`
	Token  string    `json:"token"` // tells one acquisition from another
}

// Acquire takes the lock.
func (l *ParameterLock) Acquire(ctx context.Context) (release func(ctx context.Context) error, err error) {
	if l.Config.Region == "" || l.Name == "" {
		return nil, bake.Invalid("ParameterLock", "a Config with a region and a Name are required")
	}
	held := l.For
	if held == 0 {
		held = defaultLockTime
	}
	mine := lockValue{Holder: l.Holder, Until: l.clock().Now().Add(held).UTC(), Token: rand.Text()}
	err = l.put(ctx, mine, false)
	if exists := new(ssmtypes.ParameterAlreadyExists); errors.As(err, &exists) {
		err = l.takeOver(ctx, mine)
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return l.release(ctx, mine) }, nil
}

// IAMPolicy returns the permissions for the parameter, in any region.
func (l *ParameterLock) IAMPolicy() *iampolicy.Document {
	return iampolicy.New(iampolicy.Allow("Lock",
		[]string{"ssm:GetParameter", "ssm:PutParameter", "ssm:DeleteParameter"},
		iampolicy.ARNs("ssm", "*", "parameter/"+strings.TrimPrefix(l.Name, "/")), nil))
}

func (l *ParameterLock) clock() clock.Clock { return clock.OrSystem(l.Clock) }

func (l *ParameterLock) client() *ssm.Client { return ssm.NewFromConfig(l.Config) }

func (l *ParameterLock) put(ctx context.Context, v lockValue, overwrite bool) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = l.client().PutParameter(ctx, &ssm.PutParameterInput{
		Name: aws.String(l.Name), Value: aws.String(string(text)), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(overwrite),
	})
	return err
}

func (l *ParameterLock) get(ctx context.Context) (v lockValue, there bool, err error) {
	out, err := l.client().GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(l.Name)})
	if missing := new(ssmtypes.ParameterNotFound); errors.As(err, &missing) {
		return lockValue{}, false, nil
	} else if err != nil {
		return lockValue{}, false, err
	}
	if err := json.Unmarshal([]byte(aws.ToString(out.Parameter.Value)), &v); err != nil {
		return lockValue{}, false, fmt.Errorf("parse lock in parameter %s: %w", l.Name, err)
	}
	return v, true, nil
}

// takeOver takes a lock whose time has passed.
func (l *ParameterLock) takeOver(ctx context.Context, mine lockValue) error {
	soon, stop := clock.WithTimeout(ctx, l.clock(), lockSettles/2)
	defer stop()
	v, there, err := l.get(soon)
	switch {
	case err != nil:
		return err
	case !there:
		return l.put(soon, mine, false) // it was released just now
	case l.clock().Now().Before(v.Until):
		return v.locked()
	}
	if err := l.put(soon, mine, true); err != nil {
		return err
	}
	if err = l.clock().Sleep(ctx, lockSettles); err == nil {
		v, there, err = l.get(ctx)
	}
	switch {
	case err != nil:
		ctx, stop := clock.WithTimeout(context.WithoutCancel(ctx), l.clock(), lockSettles)
		defer stop()
		return errors.Join(err, l.release(ctx, mine))
	case !there || v.Token != mine.Token:
		return v.locked()
	}
	return nil
}

func (v lockValue) locked() error {
	return fmt.Errorf("%w: %s, until %s", ErrLocked, cmp.Or(v.Holder, "unknown"), v.Until.UTC().Format(time.DateTime))
}

// release deletes the parameter, unless another process has taken the lock over.
func (l *ParameterLock) release(ctx context.Context, mine lockValue) error {
	v, there, err := l.get(ctx)
	if err != nil || !there || v.Token != mine.Token {
		return err
	}
	_, err = l.client().DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(l.Name)})
	if missing := new(ssmtypes.ParameterNotFound); errors.As(err, &missing) {
		return nil
	}
	return err
}
