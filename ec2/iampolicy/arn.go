package iampolicy

import "strings"

// ARNs names resources of a service in a region, of any account: "image/*".
func ARNs(service, region string, resources ...string) []string {
	out := make([]string, 0, len(resources))
	for _, resource := range resources {
		account := "*"
		if service == "ec2" && (resource == "image/*" || resource == "snapshot/*") {
			account = "" // EC2 leaves it out
		}
		out = append(out, strings.Join([]string{"arn", Partition(region), service, region, account, resource}, ":"))
	}
	return out
}

// Partition is the part of AWS that a region belongs to.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	default:
		return "aws"
	}
}
