package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// This file prepares the embedded EC2; AWS needs none of it.

// createSecurityGroups creates groups that admit SSH.
func createSecurityGroups(ctx context.Context, cloud *ec2.Cloud, names ...string) error {
	for _, name := range names {
		client := cloud.Client("")
		group, err := client.CreateSecurityGroup(ctx, &awsec2.CreateSecurityGroupInput{
			GroupName: aws.String(name), Description: aws.String("nodes of group " + name),
		})
		if err != nil {
			return err
		}
		_, err = client.AuthorizeSecurityGroupIngress(ctx, &awsec2.AuthorizeSecurityGroupIngressInput{
			GroupId: group.GroupId, IpProtocol: aws.String("tcp"), CidrIp: aws.String("0.0.0.0/0"),
			FromPort: aws.Int32(22), ToPort: aws.Int32(22),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// commands returns the programs that the machines need.
func commands() map[string]ec2test.Command {
	return map[string]ec2test.Command{"puppet": puppet}
}

// puppet writes its certname to /etc/configured-as and exits as Puppet does after
// changes.
func puppet(_ context.Context, p *ec2test.Process) int {
	const changed, failed = 2, 1
	name := certname(p)
	if name == "" || p.Args[1] != "agent" {
		fmt.Fprintln(p.Stderr, "Error: unexpected arguments", p.Args)
		return failed
	}
	fmt.Fprintf(p.Stdout, "Notice: Catalog compiled for %s\n", name)
	if err := p.WriteFile("/etc/configured-as", []byte(name+"\n"), 0o644); err != nil {
		return failed
	}
	return changed
}

// certname returns the value of the option --certname.
func certname(p *ec2test.Process) string {
	for _, arg := range p.Args {
		if name, found := strings.CutPrefix(arg, "--certname="); found {
			return name
		}
	}
	return ""
}
