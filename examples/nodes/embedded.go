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

// What the embedded EC2 needs to stand for the real one: the security groups of
// the fleet, and the programs that its scripts call.

func makeGroups(ctx context.Context, cloud *ec2.Cloud, names ...string) error {
	for _, name := range names {
		client := cloud.Client("")
		group, err := client.CreateSecurityGroup(ctx, &awsec2.CreateSecurityGroupInput{
			GroupName: aws.String(name), Description: aws.String("machines of group " + name),
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

func commands() map[string]ec2test.Command {
	quiet := func(context.Context, *ec2test.Process) int { return 0 }
	return map[string]ec2test.Command{"apt-get": quiet, "systemctl": quiet, "puppet": puppet}
}

// puppet configures its machine for the name that it is given, and ends as the
// real one does when something was changed.
func puppet(_ context.Context, p *ec2test.Process) int {
	const changed, failed = 2, 1
	name := certname(p)
	if name == "" || p.Args[1] != "agent" {
		fmt.Fprintln(p.Stderr, "Error: unknown arguments", p.Args)
		return failed
	}
	fmt.Fprintf(p.Stdout, "Notice: Catalog compiled for %s\n", name)
	if err := p.WriteFile("/etc/configured-as", []byte(name+"\n"), 0o644); err != nil {
		return failed
	}
	return changed
}

// certname is the name that puppet is given.
func certname(p *ec2test.Process) string {
	for _, arg := range p.Args {
		if name, found := strings.CutPrefix(arg, "--certname="); found {
			return name
		}
	}
	return ""
}
