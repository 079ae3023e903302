package awsapi

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
)

// A Rate is the capacity of a token bucket and its refill per second.
type Rate struct {
	Burst     float64
	PerSecond float64
}

// A Limit holds the rates of one action. In a Limit given to NewLimiter, a zero
// Rate means the rate that AWS documents.
type Limit struct {
	Requests  Rate // one token per call
	Resources Rate // one token per instance that a call changes
}

// Documented returns the limit of an EC2 action, from "Request throttling for
// the Amazon EC2 API". Set open for a describe call with neither ids nor filters
// nor paging, which has a smaller one. Resources is zero for actions whose
// resources EC2 does not limit.
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

// DocumentedEBS returns the limit of an action of the EBS direct APIs, from "Quotas
// for Amazon EBS". It holds for an account, and for reading and writing blocks also
// for each snapshot. AWS documents no burst beyond a second's requests.
func DocumentedEBS(action string) Limit {
	switch action {
	case "PutSnapshotBlock", "GetSnapshotBlock":
		return Limit{Requests: Rate{1000, 1000}}
	case "ListSnapshotBlocks", "ListChangedBlocks":
		return Limit{Requests: Rate{50, 50}}
	}
	return Limit{Requests: Rate{10, 10}}
}

// paced returns a rate at which no second has more than PerSecond requests: a bucket of a
// second's requests lets nearly twice as many pass in the first one. The bucket makes up
// for sleeps that last some milliseconds too long, and as much is left for requests that
// arrive closer together than they were sent.
func (r Rate) paced() Rate {
	const burst = 0.02 // of a second's requests
	return Rate{Burst: burst * r.PerSecond, PerSecond: (1 - 2*burst) * r.PerSecond}
}

// documentedFor returns the limit of an action of any service. Those of Systems
// Manager are Parameter Store's default quotas; other services publish none and
// get a cautious one.
func documentedFor(service, action string) Limit {
	switch {
	case service == "EC2":
		return Documented(action, false)
	case service == "EBS":
		return Limit{Requests: DocumentedEBS(action).Requests.paced()}
	case service == "SSM" && action == "PutParameter":
		return Limit{Requests: Rate{3, 3}}
	case service == "SSM":
		return Limit{Requests: Rate{40, 40}}
	default:
		return Limit{Requests: Rate{20, 10}}
	}
}

// resourcesOf returns the number of resource tokens that a call with input in
// costs.
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
