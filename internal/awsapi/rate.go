package awsapi

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
)

// A Rate is a token bucket: how much it holds, and what flows in per second.
type Rate struct {
	Burst     float64
	PerSecond float64
}

// A Limit is the buckets of one action. A zero Rate in a Limit given to
// NewLimiter is what AWS documents.
type Limit struct {
	Requests  Rate // one token for each call
	Resources Rate // one token for each instance that a call changes
}

// Documented returns the buckets of an action of EC2, from "Request throttling
// for the Amazon EC2 API". Open is a describe with neither ids nor filters nor
// paging, which has a smaller one. Resources is zero where EC2 counts none.
func Documented(action string, open bool) Limit {
	switch action {
	case "RunInstances", "StartInstances":
		return Limit{Requests: Rate{5, 2}, Resources: Rate{1000, 2}}
	case "StopInstances":
		return Limit{Requests: Rate{50, 5}, Resources: Rate{1000, 20}}
	case "TerminateInstances":
		return Limit{Requests: Rate{100, 5}, Resources: Rate{1000, 20}}
	case "CopyImage":
		return Limit{Requests: Rate{100, 1}}
	case "CreateLaunchTemplateVersion", "DeregisterImage", "DeleteSnapshot", "ModifyImageAttribute":
		return Limit{Requests: Rate{100, 5}}
	case "CreateTags", "DeleteTags":
		return Limit{Requests: Rate{100, 10}}
	case "DescribeSpotFleetRequests":
		return Limit{Requests: Rate{50, 3}}
	}
	if strings.HasPrefix(action, "Describe") || strings.HasPrefix(action, "Get") || strings.HasPrefix(action, "List") {
		if open {
			return Limit{Requests: Rate{50, 10}}
		}
		return Limit{Requests: Rate{100, 20}}
	}
	return Limit{Requests: Rate{50, 5}}
}

// The buckets of services other than EC2: Systems Manager's are the default
// quotas of Parameter Store; the others publish none, and get a careful one.
func documentedFor(service, action string) Limit {
	switch {
	case service == "EC2":
		return Documented(action, false)
	case service == "SSM" && action == "PutParameter":
		return Limit{Requests: Rate{3, 3}}
	case service == "SSM":
		return Limit{Requests: Rate{40, 40}}
	default:
		return Limit{Requests: Rate{20, 10}}
	}
}

// resourcesOf is how many resource tokens a call costs.
func resourcesOf(in any) int {
	switch in := in.(type) {
	case *awsec2.RunInstancesInput:
		return int(aws.ToInt32(in.MaxCount))
	case *awsec2.StartInstancesInput:
		return len(in.InstanceIds)
	case *awsec2.StopInstancesInput:
		return len(in.InstanceIds)
	case *awsec2.TerminateInstancesInput:
		return len(in.InstanceIds)
	}
	return 0
}
