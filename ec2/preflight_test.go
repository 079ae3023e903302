package ec2_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestPreflight breaks one precondition at a time of a bake with copies, and
// checks that Bake and Plan fail before anything is created.
func TestPreflight(t *testing.T) {
	const west, prod = "us-west-2", prodAccount + "/" + testRegion
	type spoiled struct {
		t      *testing.T
		server *ec2test.Server
		b      *ec2.Builder
		img    *bake.Image
	}
	for name, test := range map[string]struct {
		spoil func(s spoiled)
		want  []string
	}{
		"copy to the same account by a role": {
			func(s spoiled) {
				const self = "arn:aws:iam::123456789012:role/self"
				s.server.AddRole(ec2test.Role{ARN: self})
				s.b.Distribute.Copies[2].Cloud = s.b.Cloud.Assume(ec2.Role{ARN: self})
			},
			[]string{"Builder.Distribute.Copies[2].Cloud: AMI is copied to 123456789012/" + testRegion + " twice"},
		},
		"copies to an account by two roles": {
			func(s spoiled) {
				again := s.b.Cloud.Assume(ec2.Role{ARN: prodRole, SessionName: "again"})
				s.b.Distribute.Copies = append(s.b.Distribute.Copies, ec2.Copy{Region: testRegion, Cloud: again})
			},
			[]string{"Builder.Distribute.Copies[3].Cloud: AMI is copied to " + prod + " twice"},
		},
		"name taken": {
			func(s spoiled) { takeName(s.t, s.server, testRegion, false) },
			[]string{testRegion + `: Builder.AMIName: "web" is already the name of ami-`},
		},
		"name taken in another region": {
			func(s spoiled) { takeName(s.t, s.server, west, false) },
			[]string{west + `: Builder.AMIName: "web" is already the name of ami-`},
		},
		"name taken in another account": {
			func(s spoiled) { takeName(s.t, s.server, prod, false) },
			[]string{prod + `: Builder.AMIName: "web" is already the name of ami-`},
		},
		"old AMI protected": {
			func(s spoiled) { takeName(s.t, s.server, testRegion, true); s.b.ReplaceAMI = true },
			[]string{testRegion + ": Builder.ReplaceAMI: ami-", "has deregistration protection: enabled-with-cooldown"},
		},
		"old AMI protected in another account": {
			func(s spoiled) { takeName(s.t, s.server, prod, true); s.b.ReplaceAMI = true },
			[]string{prod + ": Builder.ReplaceAMI: ami-"},
		},
		"unknown key of the instance": {
			func(s spoiled) { s.b.BlockDevices = []ec2.BlockDevice{{KMSKey: "alias/none"}} },
			[]string{testRegion + ": Builder.BlockDevices[].KMSKey: alias/none: Key 'alias/none' does not exist"},
		},
		"unknown key of a copy": {
			func(s spoiled) { s.b.Distribute.Copies[1].KMSKey = "alias/none" },
			[]string{west + ": Builder.Distribute.Copies[1].KMSKey: alias/none: Key 'alias/none' does not exist"},
		},
		"key of another region": {
			func(s spoiled) { s.b.Distribute.Copies[2].KMSKey = "alias/west" },
			[]string{prod + ": Builder.Distribute.Copies[2].KMSKey: alias/west: "},
		},
		"disabled key": {
			func(s spoiled) {
				if err := s.server.DisableKey(s.server.AddKey(west, "alias/west")); err != nil {
					s.t.Fatal(err)
				}
			},
			[]string{west + ": Builder.Distribute.Copies[1].KMSKey: alias/west: key state is Disabled"},
		},
		"unknown region": {
			func(s spoiled) { s.b.Distribute.Copies[0].Region = "mars-north-1" },
			[]string{"mars-north-1: Builder.Distribute.Copies[0].Region: ", "Region mars-north-1 is not enabled"},
		},
		"role not assumable": {
			func(s spoiled) {
				s.b.Distribute.Copies[2].Cloud = s.b.Cloud.Assume(ec2.Role{ARN: "arn:aws:iam::210987654321:role/others"})
			},
			[]string{testRegion + ": Builder.Distribute.Copies[2].Cloud: ", "AccessDenied"},
		},
		"unknown instance profile": {
			func(s spoiled) { s.b.InstanceProfile = "nobody" },
			[]string{"check destinations: Builder.InstanceProfile: nobody not found"},
		},
		"unknown instance profile, by ARN": {
			func(s spoiled) { s.b.InstanceProfile = "arn:aws:iam::123456789012:instance-profile/of/nobody" },
			[]string{"Builder.InstanceProfile: arn:aws:iam::123456789012:instance-profile/of/nobody not found"},
		},
		"unknown instance type": {
			func(s spoiled) { s.b.InstanceTypes = []string{"t3.small", "t3.smal"} },
			[]string{`check destinations: Builder.InstanceTypes: instance type "t3.smal" not found in ` + testRegion},
		},
		"pattern of instance types": {
			func(s spoiled) { s.b.InstanceTypes = []string{"t3.*"} },
			[]string{`Builder.InstanceTypes: instance type "t3.*" not found in ` + testRegion},
		},
		"type of another architecture": {
			func(s spoiled) { s.b.InstanceTypes = []string{"t3.small", "t4g.small"} },
			[]string{"Builder.InstanceTypes: t4g.small runs arm64, but ami-", " is for x86_64"},
		},
		"zone without the types": {
			func(s spoiled) {
				for _, kind := range []string{"t3.micro", "t3.small"} {
					s.server.Fail(ec2test.Fault{InstanceType: kind, Zone: testRegion + "a", Code: "Unsupported", Times: -1})
				}
				s.b.InstanceTypes, s.b.Network.AvailabilityZone = []string{"t3.small", "t3.micro"}, testRegion+"a"
			},
			[]string{"choose network: Builder.InstanceTypes: EC2 does not offer t3.micro, t3.small in eu-west-1a", "EC2 offers t3.micro in eu-west-1b, eu-west-1c; t3.small in eu-west-1b, eu-west-1c"},
		},
		"zone without the default type": {
			func(s spoiled) {
				s.server.Fail(ec2test.Fault{InstanceType: "t3.small", Zone: testRegion + "b", Code: "Unsupported", Times: -1})
				s.b.Network.Subnet = ec2.ByFilter(ec2.Filters{"availability-zone": {testRegion + "b"}})
			},
			[]string{"choose network: Builder.InstanceTypes: EC2 does not offer t3.small in eu-west-1b"},
		},
		"unknown zone": {
			func(s spoiled) { s.b.Network.AvailabilityZone = testRegion + "z" },
			[]string{"choose network: Builder.Network"},
		},
		"unknown subnet": {
			func(s spoiled) { s.b.Network.Subnet = ec2.ByID("subnet-00000000000000000") },
			[]string{"choose network: Builder.Network.Subnet: no subnet of eu-west-1 matches"},
		},
		"unknown VPC": {
			func(s spoiled) { s.b.Network.VPC = ec2.ByID("vpc-00000000000000000") },
			[]string{"choose network: Builder.Network.VPC: 0 VPCs of eu-west-1 match"},
		},
		"unknown security group": {
			func(s spoiled) {
				s.b.Network.SecurityGroups, s.b.InstanceProfilePolicy = []string{"default", "builders"}, readBucket
			},
			[]string{`prepare security group: Builder.Network.SecurityGroups: security group "builders" not found in vpc-`},
		},
		"unknown key pair": {
			func(s spoiled) { s.b.SSH.KeyPair = "nobody" },
			[]string{`check destinations: Builder.SSH.KeyPair: "nobody" not found in ` + testRegion},
		},
		"unknown launch template": {
			func(s spoiled) {
				s.img.Publishers = []bake.Publisher{ec2.LaunchTemplate{Name: "web", Regions: []string{west, testRegion}}}
			},
			[]string{west + ": LaunchTemplate.Name: launch template web not found", prod + ": LaunchTemplate.Name: launch template web not found"},
		},
		"unknown launch template, by id": {
			func(s spoiled) { s.img.Publishers = []bake.Publisher{ec2.LaunchTemplate{ID: "lt-00000000000000000"}} },
			[]string{testRegion + ": LaunchTemplate.ID: launch template lt-"},
		},
		"parameter in a region without copy": {
			func(s spoiled) {
				s.img.Publishers = []bake.Publisher{ec2.SSMParameter{Name: "/web", Regions: []string{west, "sa-east-1"}}}
			},
			[]string{"SSMParameter.Regions: AMI is not copied to sa-east-1"},
		},
		"parameter exists": {
			func(s spoiled) {
				putParameter(s.t, s.server, west, "/web")
				s.img.Publishers = []bake.Publisher{ec2.SSMParameter{Name: "/web", NoOverwrite: true}}
			},
			[]string{west + ": SSMParameter.NoOverwrite: parameter /web already exists"},
		},
		"public access blocked for copies": {
			func(s spoiled) {
				allowPublic(s.t, s.server, testRegion)
				s.b.Distribute.LaunchPermissions.Public = true
			},
			[]string{
				west + ": Builder.Distribute.LaunchPermissions.Public: the account blocks public access to AMIs in this region",
				prod + ": Builder.Distribute.LaunchPermissions.Public: ",
			},
		},
		"public access blocked": {
			func(s spoiled) {
				allowPublic(s.t, s.server, west, "us-east-1", prod)
				s.b.Distribute.LaunchPermissions.Public = true
			},
			[]string{testRegion + ": Builder.Distribute.LaunchPermissions.Public: the account blocks"},
		},
		"public access to snapshots blocked": {
			func(s spoiled) {
				_, err := awsec2.NewFromConfig(owner(s.server, west)).EnableSnapshotBlockPublicAccess(s.t.Context(), &awsec2.EnableSnapshotBlockPublicAccessInput{
					State: ec2types.SnapshotBlockPublicAccessStateBlockNewSharing,
				})
				if err != nil {
					s.t.Fatal(err)
				}
				s.b.Distribute.SnapshotPermissions.Public = true
			},
			[]string{west + ": Builder.Distribute.SnapshotPermissions.Public: the account blocks public access to snapshots in this region"},
		},
		"public, but encrypted by default": {
			func(s spoiled) {
				allowPublic(s.t, s.server, definitionPlaces()...)
				if _, err := awsec2.NewFromConfig(owner(s.server, prod)).EnableEbsEncryptionByDefault(s.t.Context(), nil); err != nil {
					s.t.Fatal(err)
				}
				s.b.Distribute.LaunchPermissions.Public = true
			},
			[]string{prod + ": Builder.Distribute.LaunchPermissions.Public: the account encrypts all new volumes in this region"},
		},
		"two errors": {
			func(s spoiled) {
				takeName(s.t, s.server, testRegion, false)
				s.b.Distribute.Copies[1].KMSKey = "alias/none"
			},
			[]string{testRegion + ": Builder.AMIName: ", west + ": Builder.Distribute.Copies[1].KMSKey: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := roleServer(t, nil)
				cloud := newCloud(server)
				newTemplates(t, server, testRegion)
				if !strings.HasPrefix(name, "disabled") {
					server.AddKey(west, "alias/west")
				}
				img := multiRegion(cloud)
				b, _ := img.Builder.(ec2.Builder)
				b.AMIName = "web"
				test.spoil(spoiled{t, server, &b, img})
				img.Builder = b
				_, planErr := ec2.Plan(t.Context(), img)
				_, bakeErr := bake.Bake(t.Context(), nil, img)
				for _, want := range test.want {
					wantError(t, "Bake", bakeErr, want)
					wantError(t, "Plan", planErr, want)
				}
				if n := server.CallCount("RunInstances"); n > 1 { // the dry run of Plan
					t.Errorf("calls of RunInstances = %d, want at most 1", n)
				}
				if n := server.CallCount("CreateSecurityGroup") + server.CallCount("CreateRole"); n > 1 {
					t.Errorf("calls of CreateSecurityGroup and CreateRole = %d, want at most 1", n)
				}
			})
		})
	}
}

// TestInstanceChecksUnknown checks that a bake that may not look up instance types, zones
// and key pairs goes on.
func TestInstanceChecksUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		cloud := newCloud(server)
		addKeyPair(t, cloud, "bakers")
		img := configure(simple(cloud), func(b *ec2.Builder) {
			b.InstanceTypes, b.Network.AvailabilityZone, b.SSH.KeyPair = []string{"t3.micro"}, testRegion+"b", "bakers"
		})
		before := len(server.Calls())
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		for _, action := range []string{"DescribeInstanceTypes", "DescribeInstanceTypeOfferings", "DescribeKeyPairs"} {
			if n := len(callsOf(server.Calls()[before:], action)); n != 1 {
				t.Errorf("calls of %s = %d, want 1", action, n)
			}
			server.Fail(ec2test.Fault{Action: action, Code: "UnauthorizedOperation", Times: -1})
		}
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Errorf("Bake() without permission to look up: error = %v", err)
		}
	})
}

// TestLaunchErrorNamesField checks the fields that errors of a launch name.
func TestLaunchErrorNamesField(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for code, field := range map[string]string{
			"InvalidPlacementGroup.Unknown": "Placement.Group", "InvalidCapacityReservationId.NotFound": "Placement.CapacityReservation",
			"InvalidSnapshot.NotFound": "BlockDevices", "InvalidKeyPair.NotFound": "SSH.KeyPair",
		} {
			server := newServer(t, nil)
			server.Fail(ec2test.Fault{Action: "RunInstances", Code: code, Times: -1})
			img := simple(newCloud(server))
			_, err := ec2.Plan(t.Context(), img)
			wantError(t, "Plan", err, "launch instance: Builder."+field+": t3.small in eu-west-1", code)
			_, err = bake.Bake(t.Context(), nil, img)
			wantError(t, "Bake", err, "launch instance: Builder."+field+": t3.small in eu-west-1", code)
			wantNoLeftovers(t, server)
		}
	})
}

// TestPreflightCallCount checks that preflight checks make no calls for a bake
// without destinations, and for many bakes few more than for one.
func TestPreflightCallCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		if _, err := bake.Bake(t.Context(), nil, simple(newCloud(server))); err != nil {
			t.Fatal(err)
		}
		before := slices.IndexFunc(server.Calls(), func(c ec2test.Call) bool { return c.Action == "RunInstances" })
		if before != 4 {
			t.Errorf("calls of a plain bake before its launch = %d, want 4: source, subnets, and a group with a rule", before)
		}

		server = roleServer(t, nil)
		server.AddKey("us-west-2", "alias/west")
		newTemplates(t, server, testRegion, prodAccount+"/"+testRegion)
		server.Fail(ec2test.Fault{Action: "DescribeSubnets", Code: "UnauthorizedOperation", Times: -1}) // ends the bakes after their checks
		o := cloudOptions(server)
		o.PollInterval = time.Minute
		cloud := ec2.NewCloud(server.Config(testRegion), o)
		prod := cloud.Assume(ec2.Role{ARN: prodRole})
		const bakes = 100
		var images []*bake.Image
		for i := range bakes {
			img := multiRegion(cloud)
			img.Name = fmt.Sprint("web ", i)
			configure(img, func(b *ec2.Builder) { b.AMIName, b.Distribute.Copies[2].Cloud = img.Name, prod })
			img.Publishers = []bake.Publisher{ec2.LaunchTemplate{Name: "web", Regions: []string{testRegion}}}
			images = append(images, img)
		}
		_, err := bake.Bake(t.Context(), &bake.Options{Parallel: bakes}, images...)
		if err == nil || strings.Contains(err.Error(), "check destinations") {
			t.Fatalf("Bake() error = %v, want that of the subnets", err)
		}
		for action, most := range map[string]int{
			"DescribeLaunchTemplates": 2, "GetCallerIdentity": 2, "AssumeRole": 1, "DescribeKey": 1, // two accounts
			"DescribeImages": bakes, // usually a dozen; without sharing, four times as many as bakes
		} {
			if n := server.CallCount(action); n > most {
				t.Errorf("calls of %s by %d bakes = %d, want at most %d", action, bakes, n, most)
			}
		}
	})
}

// TestCheckMachineWithFixedAMIName checks an AMI under its fixed name, which the
// check machine's preflight must not report as taken. With ReplaceAMI, the AMI
// has a working name until it is good.
func TestCheckMachineWithFixedAMIName(t *testing.T) {
	for _, replace := range []bool{false, true} {
		t.Run(fmt.Sprintf("ReplaceAMI %t", replace), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				img := simple(cloud)
				img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), AMIName: "web", ReplaceAMI: replace}
				var checkedID, checkedName string
				img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, _ bake.Machine) error {
					var machine ec2types.Instance
					if err := describeMachine(cloud, &machine).Do(ctx); err != nil {
						return err
					}
					out, err := cloud.Client("").DescribeImages(ctx, &awsec2.DescribeImagesInput{ImageIds: []string{*machine.ImageId}})
					if err != nil {
						return err
					}
					checkedID, checkedName = *machine.ImageId, *out.Images[0].Name
					return nil
				}}}
				results, err := bake.Bake(t.Context(), nil, img)
				if err != nil {
					t.Fatal(err)
				}
				id := results[0].Artifact.ID()
				if got, want := checkedName == "web", !replace; got != want {
					t.Errorf("name of the AMI during the check = %q, want %q: %t", checkedName, "web", want)
				}
				if got, want := checkedID == id, !replace; got != want { // a replacement is registered again
					t.Errorf("id of the AMI during the check = %s, want %s: %t", checkedID, id, want)
				}
				if name := aws.ToString(describe(t, cloud, "", id).Name); name != "web" {
					t.Errorf("name of the AMI = %q, want %q", name, "web")
				}
			})
		})
	}
}
