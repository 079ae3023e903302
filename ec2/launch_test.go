package ec2_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
	"github.com/bakestone-go/bakestone/provision"
)

func TestLaunchDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		if _, err := bake.Bake(t.Context(), nil, simple(newCloud(server))); err != nil {
			t.Fatal(err)
		}
		run := paramsOf(t, server, "RunInstances")
		for name, want := range map[string]string{
			"MetadataOptions.HttpTokens":        "required",
			"InstanceInitiatedShutdownBehavior": "terminate",
			"KeyName":                           "",
			"InstanceType":                      "t3.small",
			"TagSpecification.1.ResourceType":   "instance",
			"TagSpecification.2.ResourceType":   "volume",
			"TagSpecification.3.ResourceType":   "network-interface",
		} {
			if got := run.Get(name); got != want {
				t.Errorf("RunInstances %s = %q, want %q", name, got, want)
			}
		}
		if run.Get("ClientToken") == "" {
			t.Error("RunInstances ClientToken is empty")
		}
		rule := paramsOf(t, server, "AuthorizeSecurityGroupIngress")
		addr, err := server.SourceAddress(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := rule.Get("IpPermissions.1.IpRanges.1.CidrIp"); got != netip.PrefixFrom(addr, addr.BitLen()).String() {
			t.Errorf("SSH is open to %q, want only the baking host, %s", got, addr)
		}
		for _, action := range []string{"CreateSecurityGroup", "CreateImage"} {
			params := paramsOf(t, server, action).Encode()
			if !strings.Contains(params, url.QueryEscape(ec2.TagExpires)) || !strings.Contains(params, "team") {
				t.Errorf("%s parameters = %s, want the tags", action, params)
			}
		}
		if n := server.CallCount("CreateKeyPair") + server.CallCount("ImportKeyPair"); n != 0 {
			t.Errorf("calls that create a key pair = %d, want 0", n)
		}
	})
}

func TestNetworkAndGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		client := cloud.Client("")
		group, err := client.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{
			GroupName: aws.String("builders"), Description: aws.String("may be reached"),
		})
		if err != nil {
			t.Fatal(err)
		}
		openSSH(t, cloud, group.GroupId, "0.0.0.0/0")
		subnets, err := client.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{})
		if err != nil {
			t.Fatal(err)
		}
		vpc, third := *subnets.Subnets[0].VpcId, subnets.Subnets[2]
		tests := map[string]struct {
			change func(*ec2.Builder)
			subnet string
			group  string
			public string // AssociatePublicIpAddress; empty checks nothing
			err    string
		}{
			"subnet by id":      {change: func(b *ec2.Builder) { b.Network.Subnet = ec2.ByID(*third.SubnetId) }, subnet: *third.SubnetId},
			"subnet by zone":    {change: func(b *ec2.Builder) { b.Network.AvailabilityZone = *third.AvailabilityZone }, subnet: *third.SubnetId},
			"vpc by id":         {change: func(b *ec2.Builder) { b.Network.VPC = ec2.ByID(vpc) }},
			"vpc by filter":     {change: func(b *ec2.Builder) { b.Network.VPC = ec2.ByFilter(ec2.Filters{"is-default": {"true"}}) }},
			"group by name":     {change: func(b *ec2.Builder) { b.Network.SecurityGroups = []string{"builders"} }, group: *group.GroupId},
			"group by id":       {change: func(b *ec2.Builder) { b.Network.SecurityGroups = []string{*group.GroupId} }, group: *group.GroupId},
			"public IP":         {change: func(b *ec2.Builder) { b.Network.PublicIP = ec2.Enabled; b.SSH.Address = ec2.PublicAddress }, public: "true"},
			"no public IP":      {change: func(b *ec2.Builder) { b.Network.PublicIP = ec2.Disabled }, public: "false"},
			"unknown subnet":    {change: func(b *ec2.Builder) { b.Network.Subnet = ec2.ByID("subnet-0") }, err: "choose network: Builder.Network.Subnet: no subnet of eu-west-1 matches [subnet-id=[subnet-0]]"},
			"unknown zone":      {change: func(b *ec2.Builder) { b.Network.AvailabilityZone = "us-east-1a" }, err: "choose network: Builder.Network.AvailabilityZone: the default VPC of eu-west-1 has no default subnet in us-east-1a"},
			"unknown vpc":       {change: func(b *ec2.Builder) { b.Network.VPC = ec2.ByID("vpc-0") }, err: "choose network: Builder.Network.VPC: 0 VPCs"},
			"unknown group":     {change: func(b *ec2.Builder) { b.Network.SecurityGroups = []string{"nobody"} }, err: `prepare security group: Builder.Network.SecurityGroups: security group "nobody" not found in ` + vpc},
			"wrong type":        {change: func(b *ec2.Builder) { b.InstanceTypes = []string{"t4g.small"} }, err: "check destinations: Builder.InstanceTypes: t4g.small runs arm64"},
			"private on public": {change: func(b *ec2.Builder) { b.SSH.Address = ec2.PrivateAddress }},
		}
		for name, test := range tests {
			before := len(server.Calls())
			b := ec2.Builder{Cloud: cloud, Source: ubuntu()}
			test.change(&b)
			results, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "placed", Builder: b})
			if test.err != "" {
				wantError(t, name+": Bake", err, test.err)
				continue
			}
			if err != nil {
				t.Errorf("%s: Bake() error = %v", name, err)
				continue
			}
			for _, c := range callsOf(server.Calls()[before:], "RunInstances") {
				text := c.Params.Encode()
				if !strings.Contains(text, test.subnet) || !strings.Contains(text, test.group) {
					t.Errorf("%s: RunInstances parameters = %s, want subnet %q and group %q", name, text, test.subnet, test.group)
				}
				const public = "NetworkInterface.1.AssociatePublicIpAddress"
				if got := c.Params.Get(public); test.public != "" && got != test.public {
					t.Errorf("%s: RunInstances %s = %q, want %q", name, public, got, test.public)
				}
			}
			destroy(t, results[0].Artifact)
		}
	})
}

func TestUserDataMerge(t *testing.T) {
	for name, data := range map[string]string{
		"script":       "#!/bin/sh\necho user >/etc/user-data-ran\n",
		"cloud-config": "#cloud-config\nruncmd: ['echo user >/etc/user-data-ran']\n",
		"mime": "Content-Type: multipart/mixed; boundary=\"b\"\nMIME-Version: 1.0\n\n--b\nContent-Type: text/x-shellscript\n\n" +
			"#!/bin/sh\necho user >/etc/user-data-ran\n--b--\n",
		"long": "#!/bin/sh\n" + strings.Repeat("# a comment that compresses well\n", 2000) + "echo user >/etc/user-data-ran\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				img := &bake.Image{
					Name:    "merged",
					Builder: ec2.Builder{Cloud: newCloud(newServer(t, nil)), Source: ubuntu(), UserData: []byte(data)},
					Provisioners: []bake.Provisioner{
						provision.Shell("cloud-init status --wait", "grep -q user /etc/user-data-ran"),
					},
				}
				if _, err := bake.Bake(t.Context(), nil, img); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestBlockDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		img := &bake.Image{Name: "disks", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), BlockDevices: []ec2.BlockDevice{
			{SizeGiB: 20, ThroughputMiB: 250},
			{Device: "/dev/sdf", SizeGiB: 5, Type: "gp2"},
		}}}
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"/dev/sda1": "20 gp3 3000/250", "/dev/sdf": "5 gp2"}
		if diff := cmp.Diff(want, devicesOf(t, cloud, results[0].Artifact.ID())); diff != "" {
			t.Errorf("devices (-want +got):\n%s", diff)
		}
		destroy(t, results[0].Artifact)
		wantNoLeftovers(t, server)
	})
}

func TestInstanceTerminatedWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, cloud := realistic(ec2test.Options{})
		defer server.Close()
		_, err := bake.Bake(t.Context(), &bake.Options{Observe: func(e bake.Event) {
			if e.Kind == bake.ResourceCreated && e.Resource.Kind == "instance" {
				if err := server.TerminateInstance(e.Resource.ID); err != nil {
					t.Error(err)
				}
			}
		}}, simple(cloud))
		wantError(t, "Bake", err, "wait for instance: i-", "was terminated")
		wantNoLeftovers(t, server)
	})
}
