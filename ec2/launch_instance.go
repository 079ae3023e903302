package ec2

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// An instance is the machine that is baked on.
type instance struct {
	candidate // as which it was launched

	ID       string `json:"id,omitempty"`
	Address  string `json:"address,omitempty"`  // to connect to
	Refused  bool   `json:"refused,omitempty"`  // EC2 said that it launched none
	Stopping bool   `json:"stopping,omitempty"` // EC2 was told to stop it
	Ending   bool   `json:"ending,omitempty"`   // EC2 was told to terminate it
	Ended    bool   `json:"ended,omitempty"`    // seen terminated
	Cause    string `json:"cause,omitempty"`    // EC2's code of why it ended by itself
}

// launch launches the instance as the first candidate that EC2 has capacity for.
func (s *session) launch(ctx context.Context) error {
	if s.Instance.Ended { // reclaimed: this is another one, and nothing is left of what was taken of the first
		s.Instance, s.Machine, s.Image = instance{}, machineRecord{}, amiRecord{}
	}
	data, err := s.userData()
	if err != nil {
		return err
	}
	return s.eachCandidate(ctx, func(ctx context.Context, c candidate) error {
		return s.launchAs(ctx, c, s.runInput(c, data))
	})
}

// runInput is the call that launches a candidate.
func (s *session) runInput(c candidate, userData string) *awsec2.RunInstancesInput {
	in := &awsec2.RunInstancesInput{
		// The token makes a repeated call, also one of another process, return
		// the instance that the first one launched.
		ClientToken:                       aws.String(c.token(s.run.ID, s.Reclaims)),
		ImageId:                           aws.String(s.Source.ID),
		InstanceType:                      ec2types.InstanceType(c.Type),
		MinCount:                          aws.Int32(1),
		MaxCount:                          aws.Int32(1),
		UserData:                          aws.String(base64.StdEncoding.EncodeToString([]byte(userData))),
		InstanceInitiatedShutdownBehavior: ec2types.ShutdownBehaviorTerminate,
		MetadataOptions:                   s.builder.Metadata.options(),
		BlockDeviceMappings:               s.blockDevices(),
		TagSpecifications: tagged(s.tags("bakestone "+s.run.Image),
			ec2types.ResourceTypeInstance, ec2types.ResourceTypeVolume, ec2types.ResourceTypeNetworkInterface),
	}
	if p := cmp.Or(s.Profile.Name, s.builder.InstanceProfile); strings.HasPrefix(p, "arn:") {
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Arn: aws.String(p)}
	} else if p != "" {
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: aws.String(p)}
	}
	s.addNetwork(in, c)
	s.builder.Placement.apply(in)
	s.builder.apply(in)
	if c.Spot {
		in.InstanceMarketOptions = s.builder.Spot.options()
	}
	return in
}

// apply sets the options of the Builder that are a parameter each.
func (b Builder) apply(in *awsec2.RunInstancesInput) {
	if b.StopOnShutdown {
		in.InstanceInitiatedShutdownBehavior = ec2types.ShutdownBehaviorStop
	}
	switch b.UnlimitedCredits {
	case Enabled:
		in.CreditSpecification = &ec2types.CreditSpecificationRequest{CpuCredits: aws.String("unlimited")}
	case Disabled:
		in.CreditSpecification = &ec2types.CreditSpecificationRequest{CpuCredits: aws.String("standard")}
	}
	if b.SSH.KeyPair != "" {
		in.KeyName = aws.String(b.SSH.KeyPair)
	}
	if b.EBSOptimized {
		in.EbsOptimized = aws.Bool(true)
	}
	if b.Monitoring {
		in.Monitoring = &ec2types.RunInstancesMonitoringEnabled{Enabled: aws.Bool(true)}
	}
	if b.Enclave {
		in.EnclaveOptions = &ec2types.EnclaveOptionsRequest{Enabled: aws.Bool(true)}
	}
}

// launchAs makes the call.
func (s *session) launchAs(ctx context.Context, c candidate, in *awsec2.RunInstancesInput) error {
	s.Instance = instance{candidate: c}
	return s.onceProfileKnown(ctx, func(ctx context.Context) error {
		out, err := s.region.client.RunInstances(ctx, in)
		if err != nil {
			s.Instance.Refused = awsapi.Rejected(err)
			return err
		}
		if len(out.Instances) != 1 {
			return fmt.Errorf("EC2 launched %d instances, not one", len(out.Instances))
		}
		s.Instance.Refused = false
		s.Instance.ID = aws.ToString(out.Instances[0].InstanceId)
		s.run.Created("instance", s.Instance.ID)
		s.run.Say("%s is %s", s.Instance.ID, c)
		return nil
	})
}

// waitInstance waits until ready says so; an instance that ends meanwhile is
// an error.
func (s *session) waitInstance(ctx context.Context, ready func(ec2types.Instance) (bool, error)) error {
	return s.region.instances.WaitQuiet(ctx, s.Instance.ID, s.region.pollIntervals(quietInstance), func(i ec2types.Instance, found bool) (bool, error) {
		if !found {
			return false, nil // EC2 does not show it yet
		}
		if i.State.Name == ec2types.InstanceStateNameTerminated || i.State.Name == ec2types.InstanceStateNameShuttingDown {
			if i.StateReason != nil {
				s.Instance.Cause = aws.ToString(i.StateReason.Code)
			}
			return false, needsKeys(fmt.Errorf("%s was terminated: %s", s.Instance.ID, stateReason(i)), s.launchKeys(i))
		}
		return ready(i)
	})
}

func stateReason(i ec2types.Instance) string {
	if i.StateReason != nil && aws.ToString(i.StateReason.Message) != "" {
		return aws.ToString(i.StateReason.Message)
	}
	if reason := aws.ToString(i.StateTransitionReason); reason != "" {
		return reason
	}
	return "EC2 gives no reason"
}

// stop stops the instance, so that its disks rest when they are imaged. EC2
// stops no spot instance of a one-time request; it shuts that one down itself
// while it takes the image.
func (s *session) stop(ctx context.Context) error {
	if s.Instance.Spot {
		return nil
	}
	if err := s.beginStop(ctx); err != nil {
		return err
	}
	return s.waitInstance(ctx, func(i ec2types.Instance) (bool, error) {
		return i.State.Name == ec2types.InstanceStateNameStopped, nil
	})
}

// beginStop tells EC2 to stop the instance.
func (s *session) beginStop(ctx context.Context) error {
	if s.Instance.Stopping {
		return nil
	}
	_, err := s.region.client.StopInstances(ctx, &awsec2.StopInstancesInput{InstanceIds: []string{s.Instance.ID}})
	s.Instance.Stopping = err == nil
	return err
}

// terminate ends the instance, found by its id or by the tag of its create
// call, and waits until it has ended: its volumes go with it.
func (s *session) terminate(ctx context.Context, _ bake.Outcome) error {
	if s.Instance.Ended || s.Instance.ID == "" && s.Instance.Refused {
		return nil
	}
	if s.Instance.ID == "" {
		if err := s.region.settled(ctx, s.findInstance); err != nil {
			return err
		}
	}
	if s.Instance.ID == "" {
		return nil
	}
	err := s.beginTermination(ctx)
	if err == nil {
		err = s.waitTerminated(ctx)
	}
	if err != nil {
		return fmt.Errorf("instance %s: %w", s.Instance.ID, err)
	}
	s.Instance.Ended = true
	s.run.Removed("instance", s.Instance.ID)
	return nil
}

// beginTermination tells EC2 to end the instance; what comes next in the build
// does not have to wait until it has.
func (s *session) beginTermination(ctx context.Context) error {
	if s.Instance.Ending {
		return nil
	}
	err := s.region.gone(ctx, func(ctx context.Context) error {
		_, err := s.region.client.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: []string{s.Instance.ID}})
		return err
	})
	s.Instance.Ending = err == nil
	return err
}

func (s *session) waitTerminated(ctx context.Context) error {
	unseen := s.region.clock.Now().Add(s.region.settle)
	return s.region.instances.WaitQuiet(ctx, s.Instance.ID, s.region.pollIntervals(quietInstance), func(i ec2types.Instance, found bool) (bool, error) {
		if !found {
			return !s.region.clock.Now().Before(unseen), nil
		}
		return i.State.Name == ec2types.InstanceStateNameTerminated, nil
	})
}

// findInstance looks for the instance by the tag of its create call.
func (s *session) findInstance(ctx context.Context) (bool, error) {
	found, err := s.instancesOfBuild(ctx, ec2types.InstanceStateNamePending, ec2types.InstanceStateNameRunning,
		ec2types.InstanceStateNameStopping, ec2types.InstanceStateNameStopped, ec2types.InstanceStateNameShuttingDown)
	if err != nil || len(found) == 0 {
		return false, err
	}
	s.Instance.ID = aws.ToString(found[0].InstanceId)
	return true, nil
}

// instancesOfBuild are those with the tag of the build in one of the states, by
// their ids.
func (s *session) instancesOfBuild(ctx context.Context, states ...ec2types.InstanceStateName) ([]ec2types.Instance, error) {
	in := make([]string, 0, len(states))
	for _, state := range states {
		in = append(in, string(state))
	}
	var found []ec2types.Instance
	err := s.region.eachInstance(ctx, []ec2types.Filter{filter("tag:"+TagBuild, s.run.ID), filter("instance-state-name", in...)},
		func(i ec2types.Instance) { found = append(found, i) })
	slices.SortFunc(found, func(a, b ec2types.Instance) int { return strings.Compare(*a.InstanceId, *b.InstanceId) })
	return found, err
}
