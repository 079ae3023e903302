package iampolicy

import "strings"

// ARNs returns the ARNs of resources of a service in a region, such as "image/*", in
// any account.
func ARNs(service, region string, resources ...string) []string {
	out := make([]string, 0, len(resources))
	for _, resource := range resources {
		account := "*"
		if service == "ec2" && (resource == "image/*" || resource == "snapshot/*") {
			account = "" // their ARNs have no account
		}
		out = append(out, strings.Join([]string{"arn", Partition(region), service, region, account, resource}, ":"))
	}
	return out
}

// Partition returns the AWS partition of a region, such as "aws-cn".
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
