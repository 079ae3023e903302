package ec2

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
)

// A Spot asks for spot instances, and says what to do without them. The zero
// value takes them at any price up to that of on-demand, and goes on on-demand
// when EC2 has none or has reclaimed one.
//
// A spot instance cannot be stopped: EC2 shuts it down while it takes the
// image, and starts it again before the build terminates it. See also
// Capture.CrashConsistent.
type Spot struct {
	// MaxPrice is the most to pay, in dollars per hour: "0.05". Empty is the
	// price of on-demand, as AWS advises: with a lower one more are reclaimed.
	MaxPrice string

	// Restarts is how often a build whose instance was reclaimed begins its
	// launch again on spot, before it does so on-demand. Zero is once, negative
	// is never. A machine that only checks an image counts for itself.
	Restarts int

	// Only never goes on-demand: without a spot instance the build fails.
	Only bool
}

const defaultRestarts = 1

func (b Builder) validateSpot() []error {
	if b.Spot == nil {
		return nil
	}
	var errs []error
	if text := b.Spot.MaxPrice; text != "" {
		if price, err := strconv.ParseFloat(text, 64); err != nil || !(price > 0) {
			errs = append(errs, bake.Invalid("Builder.Spot.MaxPrice", "%q is not a price in dollars per hour", text))
		}
	}
	if b.Capture.ENA || b.Capture.SRIOV {
		errs = append(errs, bake.Invalid("Builder.Spot", "Capture.ENA and Capture.SRIOV are set on an instance that is stopped, which a spot instance cannot be"))
	}
	return errs
}

func (p *Spot) restarts() int {
	switch {
	case p.Restarts == 0:
		return defaultRestarts
	case p.Restarts < 0:
		return 0
	}
	return p.Restarts
}

// markets are spot (true) and on-demand, in the order in which to try them.
func (s *session) markets() []bool {
	switch spot := s.builder.Spot; {
	case spot == nil, !spot.Only && s.Reclaims > spot.restarts():
		return []bool{false}
	case spot.Only:
		return []bool{true}
	}
	return []bool{true, false}
}

// options ask for a spot instance that is gone for good when it ends.
func (p *Spot) options() *ec2types.InstanceMarketOptionsRequest {
	spot := &ec2types.SpotMarketOptions{
		SpotInstanceType:             ec2types.SpotInstanceTypeOneTime,
		InstanceInterruptionBehavior: ec2types.InstanceInterruptionBehaviorTerminate,
	}
	if p.MaxPrice != "" {
		spot.MaxPrice = aws.String(p.MaxPrice)
	}
	return &ec2types.InstanceMarketOptionsRequest{MarketType: ec2types.MarketTypeSpot, SpotOptions: spot}
}

// Restart tells whether the build failed because EC2 could not start its
// instance, or reclaimed it, and may begin again.
func (s *session) Restart(ctx context.Context, cause error) bool {
	if slices.Contains(s.Failed, s.Instance.candidate) {
		left := s.candidates()
		if len(left) > 0 {
			s.run.Say("EC2 could not start %s: %v; next is %s", s.Instance.candidate, cause, left[0])
		}
		return len(left) > 0
	}
	captured := s.Image.ID != "" || slices.ContainsFunc(s.Machine.Disks, func(d disk) bool { return d.Snapshot != "" })
	if !s.Instance.Spot || s.Instance.ID == "" || captured {
		return false
	}
	reclaimed, err := s.wasReclaimed(ctx, cause)
	if err != nil {
		s.run.Say("cannot tell whether %s was reclaimed: %v", s.Instance.ID, err)
	}
	if !reclaimed {
		return false
	}
	s.Reclaims++
	if s.builder.Spot.Only && s.Reclaims > s.builder.Spot.restarts() {
		s.run.Say("EC2 reclaimed %s; it was the last to try", s.Instance.ID)
		return false
	}
	s.run.Say("EC2 reclaimed %s: %s", s.Instance.ID, cause)
	return true
}

// wasReclaimed looks whether the instance ends, for as long as EC2 may take to
// show it; but only once when a command ran to its end on it, because then the
// machine was there.
func (s *session) wasReclaimed(ctx context.Context, cause error) (bool, error) {
	reclaimed := false
	look := func(ctx context.Context) (ended bool, err error) {
		found, err := s.region.fetchInstances(ctx, []string{s.Instance.ID})
		if err != nil {
			return false, err
		}
		i, shown := found[s.Instance.ID]
		if !shown || i.State == nil {
			return false, nil
		}
		reclaimed = i.StateReason != nil && strings.HasPrefix(aws.ToString(i.StateReason.Code), "Server.SpotInstance")
		running := i.State.Name == ec2types.InstanceStateNamePending || i.State.Name == ec2types.InstanceStateNameRunning
		return !running, nil
	}
	exit, exited := errors.AsType[*bake.ExitError](cause)
	if exited && exit.Signal == "" {
		_, err := look(ctx)
		return reclaimed, err
	}
	err := s.region.settled(ctx, look)
	return reclaimed, err
}
