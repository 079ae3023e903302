package ec2_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

// motoAssets describes the resources of an account before a bake.
type motoAssets struct{ subnet, zone, address, group, key string }

// stockMoto creates a subnet and a security group with the tag "tier", the
// instance profile and key pair "baker", and a KMS key.
func stockMoto(t *testing.T, cloud *ec2.Cloud) motoAssets {
	t.Helper()
	client := cloud.Client("")
	subnets, err := client.DescribeSubnets(t.Context(), &awsec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}
	subnet := subnets.Subnets[1]
	group, err := client.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{
		GroupName: aws.String("bakers"), Description: aws.String("for bakes"), VpcId: subnet.VpcId,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateTags(t.Context(), &awsec2.CreateTagsInput{
		Resources: []string{*subnet.SubnetId, *group.GroupId}, Tags: []ec2types.Tag{{Key: aws.String("tier"), Value: aws.String("bake")}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateKeyPair(t.Context(), &awsec2.CreateKeyPairInput{KeyName: aws.String("baker"), KeyType: ec2types.KeyTypeEd25519}); err != nil {
		t.Fatal(err)
	}
	key, err := kms.NewFromConfig(cloud.Config("")).CreateKey(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := iam.NewFromConfig(cloud.Config("")).CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{
		InstanceProfileName: aws.String("baker"),
	}); err != nil {
		t.Fatal(err)
	}
	cidr, err := netip.ParsePrefix(*subnet.CidrBlock)
	if err != nil {
		t.Fatal(err)
	}
	octets := cidr.Addr().As4()
	octets[3] = 42
	return motoAssets{*subnet.SubnetId, *subnet.AvailabilityZone, netip.AddrFrom4(octets).String(), *group.GroupId, *key.KeyMetadata.Arn}
}

// motoVolumes returns device, size, type, encryption and key of an instance's volumes.
func motoVolumes(t *testing.T, client *awsec2.Client, instance string) string {
	t.Helper()
	out, err := client.DescribeVolumes(t.Context(), &awsec2.DescribeVolumesInput{
		Filters: []ec2types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{instance}}},
	})
	if err != nil {
		t.Error(err)
		return ""
	}
	var list []string
	for _, v := range out.Volumes {
		list = append(list, fmt.Sprint(*v.Attachments[0].Device, " ", *v.Size, " ", v.VolumeType, " ", *v.Encrypted, " ", aws.ToString(v.KmsKeyId)))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// TestLaunchOnMoto bakes with each option of launch and capture that moto
// implements, and checks the machine. Each image is planned first, and may make
// only calls that its policy allows.
func TestLaunchOnMoto(t *testing.T) {
	cloud, transport := motoAccount(t)
	have := stockMoto(t, cloud)
	manifest := filepath.Join(t.TempDir(), "ami.json")
	bakery := ec2.Filters{"tag:tier": {"bake"}}
	for _, test := range []struct {
		name    string
		builder ec2.Builder
		got     func(i ec2types.Instance) string // describes the machine; nil checks nothing
		want    string
	}{
		{
			"place",
			ec2.Builder{Network: ec2.Network{VPC: ec2.ByFilter(ec2.Filters{"is-default": {"true"}}), Subnet: ec2.ByFilter(bakery), SecurityGroupFilters: bakery}},
			func(i ec2types.Instance) string { return fmt.Sprint(*i.SubnetId, " ", *i.SecurityGroups[0].GroupId) },
			have.subnet + " " + have.group,
		},
		{
			"types and zone",
			ec2.Builder{InstanceTypes: []string{"t3.medium", "t3.small"}, Network: ec2.Network{AvailabilityZone: have.zone, SecurityGroups: []string{"bakers"}}},
			func(i ec2types.Instance) string {
				return fmt.Sprint(i.InstanceType, " ", *i.Placement.AvailabilityZone)
			},
			"t3.medium " + have.zone,
		},
		{
			"disks",
			ec2.Builder{BlockDevices: []ec2.BlockDevice{
				{SizeGiB: 20, IOPS: 4000, ThroughputMiB: 300}, {Device: "/dev/sdf", SizeGiB: 5, Type: "gp2", KMSKey: have.key},
			}},
			func(i ec2types.Instance) string { return motoVolumes(t, cloud.Client(""), *i.InstanceId) },
			"/dev/sda1 20 gp3 false \n/dev/sdf 5 gp2 true " + have.key,
		},
		{
			"profile",
			ec2.Builder{InstanceProfile: "baker"},
			func(i ec2types.Instance) string { return *i.IamInstanceProfile.Arn },
			"arn:aws:iam::123456789012:instance-profile/baker",
		},
		{
			"temporary profile",
			ec2.Builder{InstanceProfilePolicy: readBucket},
			func(i ec2types.Instance) string {
				name, _, _ := strings.Cut(*i.IamInstanceProfile.Arn, "-2")
				return name
			},
			"arn:aws:iam::123456789012:instance-profile/bakestone",
		},
		{
			"spot",
			ec2.Builder{Spot: &ec2.Spot{}},
			func(i ec2types.Instance) string { return string(i.InstanceLifecycle) },
			"spot",
		},
		{
			"parameter",
			ec2.Builder{Source: ec2.ParameterName("/aws/service/ami-amazon-linux-latest/amzn2-ami-hvm-x86_64-gp2")},
			func(i ec2types.Instance) string { return *i.RootDeviceName },
			"/dev/xvda",
		},
		{
			"options",
			ec2.Builder{
				UserData: []byte("#!/bin/sh\n:\n"), Metadata: ec2.Metadata{HopLimit: 3, Tags: true}, EBSOptimized: true, Monitoring: true,
				StopOnShutdown: true, Network: ec2.Network{PublicIP: ec2.Enabled}, UnlimitedCredits: ec2.Enabled,
			},
			func(i ec2types.Instance) string {
				m := i.MetadataOptions
				return fmt.Sprint(m.HttpTokens, " ", *m.HttpPutResponseHopLimit, " ", m.InstanceMetadataTags, " ", *i.EbsOptimized, " ", i.Monitoring.State)
			},
			"required 3 enabled true enabled",
		},
		{
			"addresses",
			ec2.Builder{Network: ec2.Network{Subnet: ec2.ByFilter(bakery), PrivateIP: netip.MustParseAddr(have.address), IPv6: true}},
			func(i ec2types.Instance) string {
				return fmt.Sprint(*i.PrivateIpAddress, " ", i.NetworkInterfaces[0].Ipv6Addresses)
			},
			have.address + " []", // moto assigns no IPv6 addresses
		},
		{
			"placement",
			ec2.Builder{Placement: ec2.Placement{Tenancy: "dedicated", Group: "close", NoCapacityReservation: true}},
			func(i ec2types.Instance) string {
				return fmt.Sprint(i.Placement.Tenancy, " ", aws.ToString(i.Placement.GroupName))
			},
			"default ", // moto ignores the placement
		},
		{
			"key pair",
			ec2.Builder{SSH: ec2.SSH{KeyPair: "baker"}},
			func(i ec2types.Instance) string { return *i.KeyName },
			"baker",
		},
		{"snapshots", ec2.Builder{Capture: ec2.Capture{FromSnapshots: true}}, nil, ""},
		{"drivers and mode", ec2.Builder{Capture: ec2.Capture{ENA: true, BootMode: "uefi"}}, nil, ""},
		{"name", ec2.Builder{AMIName: "the name"}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := test.builder
			b.Cloud, b.SSH.User, b.GuestCleanup.Off = cloud, "root", true // the guest is this very host
			if b.Source == nil {
				b.Source = ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu/images/hvm-ssd/*amd64*"}
			}
			img := &bake.Image{
				Name: "moto " + test.name, Builder: b, Tags: map[string]string{"team": "web"}, Publishers: []bake.Publisher{ec2.JSONFile{Path: manifest}},
			}
			var machine ec2types.Instance
			describe := describeMachine(cloud, &machine)
			img.Steps = []bake.Step{{Name: describe.Name, At: describe.At, Do: func(ctx context.Context) error {
				if err := describe.Do(ctx); err != nil || test.got == nil {
					return err
				}
				if got := test.got(machine); got != test.want {
					t.Errorf("machine has\n%s\nwant\n%s", got, test.want)
				}
				return nil
			}}}
			plan, err := ec2.Plan(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(plan.Images[0].Calls, func(c ec2.PlannedCall) bool { return c.Action == "RunInstances" && c.DryRun == "ok" }) {
				t.Errorf("Plan() calls = %+v, want RunInstances with the dry run's result", plan.Images[0].Calls)
			}
			transport.forget()
			results, err := bake.Bake(t.Context(), nil, img)
			if err != nil {
				t.Fatal(err)
			}
			var written struct {
				ID string `json:"id"`
			}
			if data, err := os.ReadFile(manifest); err != nil || json.Unmarshal(data, &written) != nil || written.ID != results[0].Artifact.ID() {
				t.Errorf("id in the file = %q (error %v), want %q", written.ID, err, results[0].Artifact.ID())
			}
			destroy(t, results[0].Artifact)
			allowed := ec2.Policy(cloud, img).Actions()
			for _, action := range transport.actions() {
				if action == "DescribeVolumes" || b.Capture.FromSnapshots && action == "ModifyImageAttribute" {
					continue // a call of this test, or needed since moto ignores ImdsSupport in RegisterImage
				}
				if !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasSuffix(a, ":"+action) }) {
					t.Errorf("Policy() does not allow %s", action)
				}
			}
		})
	}
	if _, err := cloud.Client("").DeleteSecurityGroup(t.Context(), &awsec2.DeleteSecurityGroupInput{GroupId: &have.group}); err != nil {
		t.Error(err)
	}
	wantMotoEmpty(t, cloud.Client(""))
}
