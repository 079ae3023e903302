package ec2

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// An instance records the instance to bake on.
type instance struct {
	candidate // it was launched as

	ID       string `json:"id,omitempty"`
	Address  string `json:"address,omitempty"`  // to connect to
	Ours     bool   `json:"ours,omitempty"`     // EC2 has shown it with the build's tag
	Refused  bool   `json:"refused,omitempty"`  // EC2 refused to launch it
	Stopping bool   `json:"stopping,omitempty"` // StopInstances has been called
	Ending   bool   `json:"ending,omitempty"`   // TerminateInstances has been called
	Ended    bool   `json:"ended,omitempty"`    // it is terminated
	Cause    string `json:"cause,omitempty"`    // EC2's reason code, if it terminated by itself
}

// launch launches the instance as the first candidate that EC2 has capacity for.
func (s *session) launch(ctx context.Context) error {
	if s.Instance.Ended { // the first instance was reclaimed; discard what was captured from it
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

// runInput returns the request that launches a candidate.
func (s *session) runInput(c candidate, userData string) *awsec2.RunInstancesInput {
	in := &awsec2.RunInstancesInput{
		// Repeated calls, even from another process, return the first instance.
		ClientToken:                       aws.String(c.token(s.run.ID, s.Reclaims+s.Relaunches)),
		ImageId:                           aws.String(s.Source.ID),
		InstanceType:                      ec2types.InstanceType(c.Type),
		MinCount:                          aws.Int32(1),
		MaxCount:                          aws.Int32(1),
		InstanceInitiatedShutdownBehavior: ec2types.ShutdownBehaviorTerminate,
		MetadataOptions:                   s.builder.Metadata.options(),
		BlockDeviceMappings:               s.blockDevices(),
		TagSpecifications: tagged(s.tags("bakestone "+s.run.Image),
			ec2types.ResourceTypeInstance, ec2types.ResourceTypeVolume, ec2types.ResourceTypeNetworkInterface),
	}
	if !s.builder.Metadata.Off {
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(userData)))
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

// apply sets the options of the Builder that correspond to one parameter each.
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

// launchAs calls RunInstances for a candidate.
func (s *session) launchAs(ctx context.Context, c candidate, in *awsec2.RunInstancesInput) error {
	s.Instance = instance{candidate: c}
	return s.onceProfileKnown(ctx, func(ctx context.Context) error {
		out, err := s.region.client.RunInstances(ctx, in)
		if err != nil {
			s.Instance.Refused = awsapi.Rejected(err)
			return err
		}
		if len(out.Instances) != 1 {
			return fmt.Errorf("EC2 launched %d instances, want one", len(out.Instances))
		}
		s.Instance.Refused = false
		s.Account = cmp.Or(s.Account, aws.ToString(out.OwnerId))
		s.Instance.ID = aws.ToString(out.Instances[0].InstanceId)
		s.run.Created("instance", s.Instance.ID)
		s.run.Say("%s is %s", s.Instance.ID, c)
		return nil
	})
}

// waitInstance waits until ready returns true. It fails if the instance terminates.
func (s *session) waitInstance(ctx context.Context, ready func(ec2types.Instance) (bool, error)) error {
	missing := s.region.absence("instance", s.Instance.ID)
	return s.region.instances.WaitQuiet(ctx, s.Instance.ID, s.region.pollIntervals(quietInstance), func(i ec2types.Instance, found bool) (bool, error) {
		s.Instance.Ours = s.Instance.Ours || found && ofBuild(i.Tags, s.run.ID)
		if !found || !s.Instance.Ours {
			return false, missing.check(found, s.Instance.Ours)
		}
		missing.since = time.Time{}
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
	return "unknown reason"
}

// stop stops the instance, so that nothing writes to its volumes while they are
// captured. One-time spot instances cannot be stopped; CreateImage shuts them down
// meanwhile.
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

// beginStop calls StopInstances, once.
func (s *session) beginStop(ctx context.Context) error {
	if s.Instance.Stopping {
		return nil
	}
	_, err := s.region.client.StopInstances(ctx, &awsec2.StopInstancesInput{InstanceIds: []string{s.Instance.ID}})
	s.Instance.Stopping = err == nil
	return err
}

// terminate terminates the instance, found by its id or its tag, and waits until
// it is terminated, which deletes its volumes.
func (s *session) terminate(ctx context.Context, _ bake.Outcome) error {
	if s.Instance.Ended || s.Instance.ID == "" && s.Instance.Refused {
		return nil
	}
	if !s.Instance.Ours {
		if err := s.findOwn(ctx); err != nil {
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

// beginTermination calls TerminateInstances, once, and does not wait.
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

// findInstance looks for the build's instance by its tag.
func (s *session) findInstance(ctx context.Context) (bool, error) {
	found, err := s.instancesOfBuild(ctx, ec2types.InstanceStateNamePending, ec2types.InstanceStateNameRunning,
		ec2types.InstanceStateNameStopping, ec2types.InstanceStateNameStopped, ec2types.InstanceStateNameShuttingDown)
	if err != nil || len(found) == 0 {
		return false, err
	}
	s.Instance.ID = aws.ToString(found[0].InstanceId)
	return true, nil
}

// findOwn looks for the build's instance by its tag, since an id that EC2 has not shown
// with this tag may be wrong. It forgets the id of another instance.
func (s *session) findOwn(ctx context.Context) error {
	launched := s.Instance.ID
	err := s.region.settled(ctx, s.findInstance)
	if err != nil || launched == "" || s.Instance.ID != launched {
		return err
	}
	another, err := s.isOfAnother(ctx, launched)
	if another {
		s.Instance.ID = ""
	}
	return err
}

// instancesOfBuild returns the instances with the build's tag in one of the states,
// sorted by id.
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
