package ec2test_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func tagValue(list []ec2types.Tag, key string) string {
	for _, tag := range list {
		if *tag.Key == key {
			return *tag.Value
		}
	}
	return ""
}

// Calls report the transition they begin, even if it takes no time.
func TestTransitionalStates(t *testing.T) {
	_, c := start(t, nil)
	inst := run(t, c, *ubuntu(t, c).ImageId, nil)
	if inst.State.Name != "pending" || inst.PublicIpAddress != nil {
		t.Errorf("RunInstances = %s with address %v, want pending without an address", inst.State.Name, inst.PublicIpAddress)
	}
	ids := []string{*inst.InstanceId}
	check := func(call string, change ec2types.InstanceStateChange, before, now ec2types.InstanceStateName) {
		t.Helper()
		if change.PreviousState.Name != before || change.CurrentState.Name != now {
			t.Errorf("%s = %s from %s, want %s from %s", call, change.CurrentState.Name, change.PreviousState.Name, now, before)
		}
	}
	check("StopInstances", must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: ids}))(t).StoppingInstances[0], "running", "stopping")
	check("StopInstances again", must(c.StopInstances(t.Context(), &awsec2.StopInstancesInput{InstanceIds: ids}))(t).StoppingInstances[0], "stopped", "stopped")
	check("StartInstances", must(c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: ids}))(t).StartingInstances[0], "stopped", "pending")
	check("StartInstances again", must(c.StartInstances(t.Context(), &awsec2.StartInstancesInput{InstanceIds: ids}))(t).StartingInstances[0], "running", "running")
	volume := must(c.CreateVolume(t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: aws.String(region + "a"), Size: aws.Int32(1)}))(t)
	snap := must(c.CreateSnapshot(t.Context(), &awsec2.CreateSnapshotInput{VolumeId: volume.VolumeId}))(t)
	if volume.State != "creating" || snap.State != "pending" {
		t.Errorf("CreateVolume = %s, CreateSnapshot = %s, want creating, pending", volume.State, snap.State)
	}
	check("TerminateInstances", must(c.TerminateInstances(t.Context(), &awsec2.TerminateInstancesInput{InstanceIds: ids}))(t).TerminatingInstances[0], "running", "shutting-down")
}

func TestUntaggedResourcesHaveNoTagSet(t *testing.T) {
	srv, c := start(t, nil)
	bakeImage(t, c, "untagged")
	run(t, c, *ubuntu(t, c).ImageId, nil)
	for _, action := range []string{"DescribeInstances", "DescribeImages", "DescribeVolumes", "DescribeSnapshots", "DescribeVpcs", "DescribeSubnets", "DescribeSecurityGroups"} {
		_, body := post(t, srv, url.Values{"Action": {action}, "Version": {"2016-11-15"}}, nil)
		if !strings.Contains(body, "<item>") || strings.Contains(body, "tagSet") {
			t.Errorf("%s answers %s, want items without tagSet", action, body)
		}
	}
}
