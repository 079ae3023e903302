package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// ErrNoCapacity is returned, wrapped, by a launch for which EC2 had no capacity with
// any instance type in any subnet.
var ErrNoCapacity = errors.New("no capacity")

// A candidate is one way to launch the instance.
type candidate struct {
	Type string `json:"type,omitempty"`
	Spot bool   `json:"spot,omitempty"`
	location
}

// A location is a subnet and its zone.
type location struct {
	Subnet string `json:"subnet"`
	Zone   string `json:"zone"`
}

func (c candidate) String() string {
	market := ""
	if c.Spot {
		market = "spot "
	}
	return fmt.Sprintf("%s%s in %s (%s)", market, c.Type, c.Zone, c.Subnet)
}

// token returns the client token of a launch. It makes launches of the same
// candidate idempotent, even from another process.
func (c candidate) token(build string, reclaims int) string {
	const enough = 12
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", reclaims, c))
	return build + "-" + hex.EncodeToString(sum[:])[:enough]
}

// isLaunchFailure reports whether code is the reason for which EC2 terminates an
// instance that it accepted but could not start: see StateReason in the EC2 API
// reference.
func isLaunchFailure(code string) bool {
	return code == "Server.InsufficientInstanceCapacity" || code == "Server.InternalError"
}

// candidates returns the ways to launch in the order to try them: spot before
// on-demand, then by instance type, then by the subnets' free addresses. It leaves
// out those that failed.
func (s *session) candidates() []candidate {
	markets, types := s.markets(), s.instanceTypes()
	all := make([]candidate, 0, len(markets)*len(types)*len(s.Network.Locations))
	for _, spot := range markets {
		for _, kind := range types {
			for _, at := range s.Network.Locations {
				if c := (candidate{kind, spot, at}); !slices.Contains(s.Failed, c) {
					all = append(all, c)
				}
			}
		}
	}
	return all
}

func (s *session) instanceTypes() []string {
	switch {
	case len(s.builder.InstanceTypes) > 0:
		return s.builder.InstanceTypes
	case s.Source.Architecture == string(ec2types.ArchitectureValuesArm64):
		return []string{string(ec2types.InstanceTypeT4gSmall)}
	default:
		return []string{string(ec2types.InstanceTypeT3Small)}
	}
}

func (b Builder) validateInstanceTypes() []error {
	var errs []error
	for i, kind := range b.InstanceTypes {
		if kind == "" || slices.Contains(b.InstanceTypes[:i], kind) {
			errs = append(errs, bake.Invalid("Builder.InstanceTypes", "instance type %q is empty or given twice", kind))
		}
	}
	if b.CapacityWait < 0 {
		errs = append(errs, bake.Invalid("Builder.CapacityWait", "must not be negative"))
	}
	return errs
}

// withoutRefused returns the candidates that are still worth trying after EC2
// refused one with code. It returns false if the reason was not capacity.
func withoutRefused(left []candidate, refused candidate, code string) ([]candidate, bool) {
	var same func(candidate) bool
	switch code {
	case "InstanceLimitExceeded", "VcpuLimitExceeded":
		same = func(c candidate) bool { return c.Type == refused.Type && c.Spot == refused.Spot }
	case "MaxSpotInstanceCountExceeded":
		same = func(c candidate) bool { return c.Spot }
	case "InsufficientFreeAddressesInSubnet":
		same = func(c candidate) bool { return c.Subnet == refused.Subnet }
	default:
		if !awsapi.NoCapacity(code) {
			return left, false
		}
		same = func(c candidate) bool { return c == refused }
	}
	return slices.DeleteFunc(slices.Clone(left), same), true
}

// eachCandidate tries candidates in order until one has capacity, retrying until
// CapacityWait expires.
func (s *session) eachCandidate(ctx context.Context, launch func(context.Context, candidate) error) error {
	const pause = time.Minute
	until := s.run.Clock.Now().Add(s.builder.CapacityWait)
	for {
		err := s.tryCandidates(ctx, launch)
		if !errors.Is(err, ErrNoCapacity) || s.run.Clock.Now().Add(pause).After(until) {
			return err
		}
		s.run.Say("%v; retrying in %v", err, pause)
		if err := s.run.Clock.Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// launchError adds the candidate, the source and the field to check to an error of EC2,
// which names none of them.
func (s *session) launchError(c candidate, err error) error {
	code := awsapi.Code(err)
	for prefix, field := range map[string]string{
		"InvalidBlockDeviceMapping": "BlockDevices", "InvalidCapacityReservation": "Placement.CapacityReservation", "InvalidGroup": "Network.SecurityGroups", "InvalidHost": "Placement.Host",
		"InvalidKeyPair": "SSH.KeyPair", "InvalidPlacementGroup": "Placement.Group", "InvalidSnapshot": "BlockDevices", "InvalidSubnet": "Network.Subnet",
	} {
		if strings.HasPrefix(code, prefix) {
			return bake.Invalid("Builder."+field, "%s of %s: %w", c, s.Source.ID, err)
		}
	}
	return fmt.Errorf("%s of %s: %w", c, s.Source.ID, err)
}

func (s *session) tryCandidates(ctx context.Context, launch func(context.Context, candidate) error) error {
	var refusals []string
	left := s.candidates()
	for len(left) > 0 {
		c := left[0]
		err := launch(ctx, c)
		if err == nil {
			return nil
		}
		code := awsapi.Code(err)
		rest, capacity := withoutRefused(left, c, code)
		if !capacity {
			return s.launchError(c, err)
		}
		left = rest
		refusals = append(refusals, fmt.Sprintf("%s: %s", c, code))
		if len(left) > 0 {
			s.run.Say("EC2 refused %s: %s; trying %s", c, code, left[0])
			continue
		}
		return fmt.Errorf("%w: %s: %w", ErrNoCapacity, strings.Join(refusals, "; "), err)
	}
	return fmt.Errorf("%w: all candidates have failed", ErrNoCapacity)
}
