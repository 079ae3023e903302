package amicleanup

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/clock"
)

// A Lock keeps two processes from doing the same work at the same time.
type Lock interface {
	// Acquire takes the lock. The error wraps ErrLocked when someone else has
	// it. Release gives it back and is called once.
	Acquire(ctx context.Context) (release func(ctx context.Context) error, err error)
}

// ErrLocked is wrapped by the error of a Lock that someone else has.
var ErrLocked = errors.New("someone else is at it")

// ParameterClient is what a ParameterLock needs of Systems Manager.
// *ssm.Client is one.
type ParameterClient interface {
	GetParameter(ctx context.Context, in *ssm.GetParameterInput, opts ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
	PutParameter(ctx context.Context, in *ssm.PutParameterInput, opts ...func(*ssm.Options)) (*ssm.PutParameterOutput, error)
	DeleteParameter(ctx context.Context, in *ssm.DeleteParameterInput, opts ...func(*ssm.Options)) (*ssm.DeleteParameterOutput, error)
}

var _ ParameterClient = (*ssm.Client)(nil)

// A ParameterLock is a Lock that is a parameter of Systems Manager: whoever
// makes it has the lock, and deletes it afterwards. A holder that died loses it
// after a time. It needs ssm:GetParameter, ssm:PutParameter and
// ssm:DeleteParameter on the parameter, and costs nothing.
//
// The lock spares work and noise; it is not what keeps images safe. Two runs at
// once do no harm: each looks at every image again before it changes it.
type ParameterLock struct {
	// Client talks to Systems Manager in the one region where the lock is. It
	// is required.
	Client ParameterClient

	// Name is the parameter's: "/amicleanup/lock". It is required.
	Name string

	// Holder says who has the lock, for those who do not get it: a host, a job.
	Holder string

	// For is how long the lock is held at most; whoever finds it older takes
	// it over. It has to be longer than any run. Zero is six hours.
	For time.Duration

	// Clock is the time to live by. Nil is the real time.
	Clock clock.Clock
}

var _ Lock = (*ParameterLock)(nil)

const (
	defaultLockTime = 6 * time.Hour

	// Of two that take over an old lock at once, the one that wrote last has
	// it. Whoever has written looks again after this time, and nobody writes
	// who read the old lock longer ago than half of it.
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
	if l.Client == nil || l.Name == "" {
		return nil, bake.Invalid("ParameterLock", "Client and Name are required")
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

func (l *ParameterLock) clock() clock.Clock {
	if l.Clock == nil {
		return clock.System()
	}
	return l.Clock
}

func (l *ParameterLock) put(ctx context.Context, v lockValue, overwrite bool) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = l.Client.PutParameter(ctx, &ssm.PutParameterInput{
		Name: aws.String(l.Name), Value: aws.String(string(text)), Type: ssmtypes.ParameterTypeString, Overwrite: aws.Bool(overwrite),
	})
	return err
}

func (l *ParameterLock) get(ctx context.Context) (v lockValue, there bool, err error) {
	out, err := l.Client.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(l.Name)})
	if missing := new(ssmtypes.ParameterNotFound); errors.As(err, &missing) {
		return lockValue{}, false, nil
	} else if err != nil {
		return lockValue{}, false, err
	}
	if err := json.Unmarshal([]byte(aws.ToString(out.Parameter.Value)), &v); err != nil {
		return lockValue{}, false, fmt.Errorf("parameter %s is no lock: %w", l.Name, err)
	}
	return v, true, nil
}

// takeOver takes a lock whose holder has let its time pass.
func (l *ParameterLock) takeOver(ctx context.Context, mine lockValue) error {
	soon, stop := clock.WithTimeout(ctx, l.clock(), lockSettles/2)
	defer stop()
	v, there, err := l.get(soon)
	switch {
	case err != nil:
		return err
	case !there:
		return l.put(soon, mine, false) // it was given back just now
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
	return fmt.Errorf("%w: %s, until %s", ErrLocked, cmp.Or(v.Holder, "unknown"), stampText(v.Until))
}

// release deletes the parameter, unless someone has taken it over.
func (l *ParameterLock) release(ctx context.Context, mine lockValue) error {
	v, there, err := l.get(ctx)
	if err != nil || !there || v.Token != mine.Token {
		return err
	}
	_, err = l.Client.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(l.Name)})
	if missing := new(ssmtypes.ParameterNotFound); errors.As(err, &missing) {
		return nil
	}
	return err
}
