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

// A Spot requests spot instances and configures the fallback. The zero value pays up
// to the on-demand price, and falls back to on-demand if EC2 has no spot capacity or
// has reclaimed an instance.
//
// Spot instances cannot be stopped: CreateImage shuts the instance down and restarts
// it before the build terminates it. See also Capture.CrashConsistent.
type Spot struct {
	// MaxPrice is the maximum price in dollars per hour: "0.05". Empty means the
	// on-demand price, as AWS recommends: with a lower one, EC2 reclaims more
	// instances.
	MaxPrice string

	// Restarts is how many times a build whose instance was reclaimed launches
	// another spot instance before it falls back to on-demand. Zero means once,
	// negative means never. Check instances are counted separately.
	Restarts int

	// Only disables the fallback: without a spot instance the build fails.
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
			errs = append(errs, bake.Invalid("Builder.Spot.MaxPrice", "invalid price %q", text))
		}
	}
	if b.Capture.ENA || b.Capture.SRIOV {
		errs = append(errs, bake.Invalid("Builder.Spot", "cannot be set together with Capture.ENA and Capture.SRIOV, which need a stopped instance"))
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

// markets returns the markets to try, in order: true is spot, false is on-demand.
func (s *session) markets() []bool {
	switch spot := s.builder.Spot; {
	case spot == nil, !spot.Only && s.Reclaims > spot.restarts():
		return []bool{false}
	case spot.Only:
		return []bool{true}
	}
	return []bool{true, false}
}

// options returns a one-time spot request.
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

// Restart reports whether the build failed because EC2 could not start its instance,
// reclaimed it or ended it by a fault, or another process had cleaned its guest, and
// another launch is worth trying.
func (s *session) Restart(ctx context.Context, cause error) bool {
	if slices.Contains(s.Failed, s.Instance.candidate) {
		left := s.candidates()
		if len(left) > 0 {
			s.run.Say("EC2 could not start %s: %v; trying %s", s.Instance.candidate, cause, left[0])
		}
		return len(left) > 0
	}
	captured := s.Image.ID != "" || slices.ContainsFunc(s.Machine.Disks, func(d disk) bool { return d.Snapshot != "" })
	if s.Instance.ID == "" || captured {
		return false
	}
	if relaunches(cause) && s.Relaunches == 0 {
		s.Relaunches++
		s.run.Say("launching again: %v", cause)
		return true
	}
	if !s.Instance.Spot {
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
		s.run.Say("EC2 reclaimed %s; no restarts are left", s.Instance.ID)
		return false
	}
	s.run.Say("EC2 reclaimed %s: %s", s.Instance.ID, cause)
	return true
}

// wasReclaimed reports whether EC2 has reclaimed the instance. It polls for
// SettleTime, or only once if cause is the exit status of a command, since the
// instance was then running.
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
