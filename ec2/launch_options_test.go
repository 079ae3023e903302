package ec2_test

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

const (
	hostGroup = "arn:aws:resource-groups:eu-west-1:123456789012:group/hosts"
	license   = "arn:aws:license-manager:eu-west-1:123456789012:license-configuration:lic-0123456789abcdef"
)

// TestLaunchOptions bakes with each option, and checks the parameters of
// RunInstances and the instance.
func TestLaunchOptions(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*ec2.Builder)
		params map[string]string            // of RunInstances
		check  func(ec2types.Instance) bool // nil checks nothing
	}{
		"dedicated": {
			change: func(b *ec2.Builder) { b.Placement.Tenancy = "dedicated" },
			params: map[string]string{"Placement.Tenancy": "dedicated"},
			check:  func(i ec2types.Instance) bool { return i.Placement.Tenancy == "dedicated" },
		},
		"host": {
			change: func(b *ec2.Builder) { b.Placement.Host = "h-0123456789abcdef0" },
			params: map[string]string{"Placement.Tenancy": "host", "Placement.HostId": "h-0123456789abcdef0"},
			check:  func(i ec2types.Instance) bool { return aws.ToString(i.Placement.HostId) == "h-0123456789abcdef0" },
		},
		"host resource group and license": {
			change: func(b *ec2.Builder) {
				b.Placement = ec2.Placement{HostResourceGroup: hostGroup, Licenses: []string{license}}
			},
			params: map[string]string{"Placement.Tenancy": "host", "Placement.HostResourceGroupArn": hostGroup},
			check:  func(i ec2types.Instance) bool { return aws.ToString(i.Licenses[0].LicenseConfigurationArn) == license },
		},
		"placement group": {
			change: func(b *ec2.Builder) { b.Placement.Group = "near" },
			params: map[string]string{"Placement.GroupName": "near", "Placement.Tenancy": ""},
			check:  func(i ec2types.Instance) bool { return aws.ToString(i.Placement.GroupName) == "near" },
		},
		"capacity reservation": {
			change: func(b *ec2.Builder) { b.Placement.CapacityReservation = "cr-0123456789abcdef0" },
			params: map[string]string{
				"CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId": "cr-0123456789abcdef0",
				"CapacityReservationSpecification.CapacityReservationPreference":                   "",
			},
		},
		"reservation group": {
			change: func(b *ec2.Builder) { b.Placement.CapacityReservationGroup = hostGroup },
			params: map[string]string{"CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationResourceGroupArn": hostGroup},
		},
		"no capacity reservation": {
			change: func(b *ec2.Builder) { b.Placement.NoCapacityReservation = true },
			params: map[string]string{"CapacityReservationSpecification.CapacityReservationPreference": "none"},
			check: func(i ec2types.Instance) bool {
				return i.CapacityReservationSpecification.CapacityReservationPreference == "none"
			},
		},
		"metadata": {
			change: func(b *ec2.Builder) { b.Metadata = ec2.Metadata{HopLimit: 2, Tags: true, IPv6: true} },
			params: map[string]string{"MetadataOptions.HttpTokens": "required", "MetadataOptions.HttpEndpoint": "enabled"},
			check: func(i ec2types.Instance) bool {
				m := i.MetadataOptions
				return *m.HttpPutResponseHopLimit == 2 && m.InstanceMetadataTags == "enabled" && m.HttpProtocolIpv6 == "enabled" && m.HttpTokens == "required"
			},
		},
		"IMDSv1": {
			change: func(b *ec2.Builder) { b.Metadata.AllowIMDSv1 = true },
			params: map[string]string{"MetadataOptions.HttpTokens": "optional"},
		},
		"unlimited credits": {
			change: func(b *ec2.Builder) { b.UnlimitedCredits = ec2.Enabled },
			params: map[string]string{"CreditSpecification.CpuCredits": "unlimited"},
		},
		"standard credits": {
			change: func(b *ec2.Builder) { b.UnlimitedCredits = ec2.Disabled },
			params: map[string]string{"CreditSpecification.CpuCredits": "standard"},
		},
		"enclave, monitoring, EBS-optimized": {
			change: func(b *ec2.Builder) {
				b.InstanceTypes, b.Enclave, b.Monitoring, b.EBSOptimized = []string{"m6i.xlarge"}, true, true, true
			},
			params: map[string]string{"EnclaveOptions.Enabled": "true"},
			check: func(i ec2types.Instance) bool {
				return *i.EnclaveOptions.Enabled && *i.EbsOptimized && i.Monitoring.State == "enabled"
			},
		},
		"stop on shutdown": {
			change: func(b *ec2.Builder) { b.StopOnShutdown = true },
			params: map[string]string{"InstanceInitiatedShutdownBehavior": "stop"},
		},
		"private address": {
			change: func(b *ec2.Builder) { b.Network.PrivateIP = netip.MustParseAddr("172.31.16.77") },
			check: func(i ec2types.Instance) bool {
				return *i.PrivateIpAddress == "172.31.16.77" && *i.Placement.AvailabilityZone == "eu-west-1b"
			},
		},
		"private address only": {
			change: func(b *ec2.Builder) {
				b.Network.PrivateIP, b.Network.PublicIP = netip.MustParseAddr("172.31.16.77"), ec2.Disabled
			},
			params: map[string]string{"NetworkInterface.1.PrivateIpAddress": "172.31.16.77", "NetworkInterface.1.AssociatePublicIpAddress": "false"},
			check:  func(i ec2types.Instance) bool { return i.PublicIpAddress == nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				b := ec2.Builder{Cloud: cloud, Source: ubuntu()}
				test.change(&b)
				var seen ec2types.Instance
				if _, err := bake.Bake(t.Context(), nil, &bake.Image{
					Name: "options", Builder: b, Steps: []bake.Step{describeMachine(cloud, &seen)},
				}); err != nil {
					t.Fatal(err)
				}
				params := paramsOf(t, server, "RunInstances")
				for param, want := range test.params {
					if got := params.Get(param); got != want {
						t.Errorf("RunInstances %s = %q, want %q", param, got, want)
					}
				}
				if test.check != nil && !test.check(seen) {
					t.Errorf("instance = %+v, want one with the option %q", seen, name)
				}
			})
		})
	}
}

func TestSecurityGroupFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		client := cloud.Client("")
		var want []string
		for _, name := range []string{"builders", "monitoring", "others"} {
			group, err := client.CreateSecurityGroup(t.Context(), &awsec2.CreateSecurityGroupInput{
				GroupName: aws.String(name), Description: aws.String(name), TagSpecifications: []ec2types.TagSpecification{{
					ResourceType: "security-group", Tags: []ec2types.Tag{{Key: aws.String("for"), Value: aws.String(name[:1])}},
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if name == "others" {
				continue
			}
			want = append(want, *group.GroupId)
			openSSH(t, cloud, group.GroupId, "0.0.0.0/0")
		}
		b := ec2.Builder{Cloud: cloud, Source: ubuntu(), Network: ec2.Network{SecurityGroupFilters: ec2.Filters{"tag:for": {"b", "m"}}}}
		if _, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "groups", Builder: b}); err != nil {
			t.Fatal(err)
		}
		run := paramsOf(t, server, "RunInstances").Encode()
		if server.CallCount("DeleteSecurityGroup") != 0 || !strings.Contains(run, want[0]) || !strings.Contains(run, want[1]) || strings.Count(run, "SecurityGroupId") != 2 {
			t.Errorf("RunInstances parameters = %s, want the groups %v", run, want)
		}
		b.Network.SecurityGroupFilters = ec2.Filters{"tag:for": {"nobody"}}
		_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "groups", Builder: b})
		wantError(t, "Bake", err, "Builder.Network.SecurityGroupFilters: no matching security group in vpc-")
	})
}

// TestLaunchEncryption checks that volumes are encrypted from the launch on, and
// so are their snapshots, without a second copy of the AMI.
func TestLaunchEncryption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		key := server.AddKey(testRegion, "alias/images")
		img := &bake.Image{Name: "secret", Builder: ec2.Builder{Cloud: cloud, Source: ubuntu(), BlockDevices: []ec2.BlockDevice{
			{Encrypted: ec2.Enabled, KMSKey: "alias/images", InitializationMiB: 200},
			{Device: "/dev/sdf", SizeGiB: 4, Type: "io2", IOPS: 1000, KMSKey: key},
		}}}
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		snapshots, err := cloud.Client("").DescribeSnapshots(t.Context(), &awsec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range snapshots.Snapshots {
			if !*s.Encrypted || *s.KmsKeyId != key {
				t.Errorf("snapshot %s = %+v, want it encrypted with %s", *s.SnapshotId, s, key)
			}
		}
		if calls := server.CallCount("CopyImage") + server.CallCount("CreateImage"); len(snapshots.Snapshots) != 2 || calls != 1 {
			t.Errorf("snapshots = %d by %d calls of CopyImage and CreateImage, want 2 by 1", len(snapshots.Snapshots), calls)
		}
		if got := paramsOf(t, server, "RunInstances").Get("BlockDeviceMapping.1.Ebs.VolumeInitializationRate"); got != "200" {
			t.Errorf("RunInstances VolumeInitializationRate = %q, want %q", got, "200")
		}
		destroy(t, results[0].Artifact)

		if err := server.DisableKey(key); err != nil {
			t.Fatal(err)
		}
		server.Fail(denyDescribeKey())
		_, err = bake.Bake(t.Context(), nil, img)
		wantError(t, "Bake", err, "KMS key provided is in an incorrect state; requires KMS keys alias/images and "+key)
		wantNoLeftovers(t, server)
	})
}

// TestOmittedDevice bakes a layer without one of its source's volumes.
func TestOmittedDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		base := simple(cloud)
		base.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), BlockDevices: []ec2.BlockDevice{{Device: "/dev/sdf", SizeGiB: 2}}}
		layer := &bake.Image{Name: "layer", From: base, Builder: ec2.Builder{
			Cloud: cloud, BlockDevices: []ec2.BlockDevice{{Device: "/dev/sdf", Omit: true}},
		}}
		results, err := bake.Bake(t.Context(), nil, base, layer)
		if err != nil {
			t.Fatal(err)
		}
		if b, l := len(amiOf(t, results[0]).Snapshots), len(amiOf(t, results[1]).Snapshots); b != 2 || l != 1 {
			t.Errorf("snapshots of base and layer = %d, %d, want 2, 1", b, l)
		}
	})
}

// TestAddresses bakes over each address of the instance.
func TestAddresses(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}
	for name, test := range map[string]struct {
		change func(*ec2.Builder)
		want   string // prefix of the address
	}{
		"default":     {func(*ec2.Builder) {}, "198.18."},
		"no public":   {func(b *ec2.Builder) { b.Network.PublicIP = ec2.Disabled }, "172.31."},
		"public":      {func(b *ec2.Builder) { b.SSH.Address = ec2.PublicAddress }, "198.18."},
		"private":     {func(b *ec2.Builder) { b.SSH.Address = ec2.PrivateAddress }, "172.31."},
		"public DNS":  {func(b *ec2.Builder) { b.SSH.Address = ec2.PublicDNS }, "ec2-198-18-"},
		"private DNS": {func(b *ec2.Builder) { b.SSH.Address = ec2.PrivateDNS }, "ip-172-31-"},
		"IPv6":        {func(b *ec2.Builder) { b.Network.IPv6, b.SSH.Address, b.SSH.From = true, ec2.IPv6Address, loopback }, "[2001:db8::"},
		"IPv6, not public": {func(b *ec2.Builder) {
			b.Network.IPv6, b.Network.PublicIP, b.SSH.Address, b.SSH.From = true, ec2.Disabled, ec2.IPv6Address, loopback
		}, "[2001:db8::"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, &ec2test.Options{IPv6: true})
				recorder := &dialRecorder{dial: server.Dial}
				o := cloudOptions(server)
				o.Dial = recorder.Dial
				b := ec2.Builder{Cloud: ec2.NewCloud(server.Config(testRegion), o), Source: ubuntu()}
				test.change(&b)
				if _, err := bake.Bake(t.Context(), nil, &bake.Image{Name: "reached", Builder: b}); err != nil {
					t.Fatal(err)
				}
				if len(recorder.addresses()) == 0 {
					t.Error("dialed no address")
				}
				for _, addr := range recorder.addresses() {
					if !strings.HasPrefix(addr, test.want) || !strings.HasSuffix(addr, ":22") {
						t.Errorf("dialed %s, want %s…:22", addr, test.want)
					}
				}
			})
		})
	}
}
