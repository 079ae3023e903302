package ec2_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestPreflight spoils one thing after the other of a bake that goes to
// many places, and wants it refused before anything is created, by Plan too.
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
		"the same account by a role": {
			func(s spoiled) {
				const self = "arn:aws:iam::123456789012:role/self"
				s.server.AddRole(ec2test.Role{ARN: self})
				s.b.Distribute.Copies[2].Cloud = s.b.Cloud.Assume(ec2.Role{ARN: self})
			},
			[]string{"Builder.Distribute.Copies[2].Cloud: AMI is copied to 123456789012/" + testRegion + " twice"},
		},
		"an account by two roles": {
			func(s spoiled) {
				again := s.b.Cloud.Assume(ec2.Role{ARN: prodRole, SessionName: "again"})
				s.b.Distribute.Copies = append(s.b.Distribute.Copies, ec2.Copy{Region: testRegion, Cloud: again})
			},
			[]string{"Builder.Distribute.Copies[3].Cloud: AMI is copied to " + prod + " twice"},
		},
		"name taken at home": {
			func(s spoiled) { takeName(s.t, s.server, testRegion, false) },
			[]string{testRegion + `: Builder.AMIName: "web" is already the name of ami-`},
		},
		"name taken by a copy": {
			func(s spoiled) { takeName(s.t, s.server, west, false) },
			[]string{west + `: Builder.AMIName: "web" is already the name of ami-`},
		},
		"name taken in another account": {
			func(s spoiled) { takeName(s.t, s.server, prod, false) },
			[]string{prod + `: Builder.AMIName: "web" is already the name of ami-`},
		},
		"protected at home": {
			func(s spoiled) { takeName(s.t, s.server, testRegion, true); s.b.ReplaceAMI = true },
			[]string{testRegion + ": Builder.ReplaceAMI: ami-", "has deregistration protection: enabled-with-cooldown"},
		},
		"protected in another account": {
			func(s spoiled) { takeName(s.t, s.server, prod, true); s.b.ReplaceAMI = true },
			[]string{prod + ": Builder.ReplaceAMI: ami-"},
		},
		"key of the instance": {
			func(s spoiled) { s.b.BlockDevices = []ec2.BlockDevice{{KMSKey: "alias/none"}} },
			[]string{testRegion + ": Builder.BlockDevices[].KMSKey: alias/none: Key 'alias/none' does not exist"},
		},
		"key of a copy": {
			func(s spoiled) { s.b.Distribute.Copies[1].KMSKey = "alias/none" },
			[]string{west + ": Builder.Distribute.Copies[1].KMSKey: alias/none: Key 'alias/none' does not exist"},
		},
		"key of another account": {
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
		"region that is not there": {
			func(s spoiled) { s.b.Distribute.Copies[0].Region = "mars-north-1" },
			[]string{"mars-north-1: Builder.Distribute.Copies[0].Region: ", "Region mars-north-1 is not enabled"},
		},
		"role that trusts nobody": {
			func(s spoiled) {
				s.b.Distribute.Copies[2].Cloud = s.b.Cloud.Assume(ec2.Role{ARN: "arn:aws:iam::210987654321:role/others"})
			},
			[]string{testRegion + ": Builder.Distribute.Copies[2].Cloud: ", "AccessDenied"},
		},
		"instance profile": {
			func(s spoiled) { s.b.InstanceProfile = "nobody" },
			[]string{"check destinations: Builder.InstanceProfile: nobody not found"},
		},
		"instance profile by its ARN": {
			func(s spoiled) { s.b.InstanceProfile = "arn:aws:iam::123456789012:instance-profile/of/nobody" },
			[]string{"Builder.InstanceProfile: arn:aws:iam::123456789012:instance-profile/of/nobody not found"},
		},
		"launch template": {
			func(s spoiled) {
				s.img.Publishers = []bake.Publisher{ec2.LaunchTemplate{Name: "web", Regions: []string{west, testRegion}}}
			},
			[]string{west + ": LaunchTemplate.Name: launch template web not found", prod + ": LaunchTemplate.Name: launch template web not found"},
		},
		"launch template by its id": {
			func(s spoiled) { s.img.Publishers = []bake.Publisher{ec2.LaunchTemplate{ID: "lt-00000000000000000"}} },
			[]string{testRegion + ": LaunchTemplate.ID: launch template lt-"},
		},
		"parameter where the AMI is not": {
			func(s spoiled) {
				s.img.Publishers = []bake.Publisher{ec2.SSMParameter{Name: "/web", Regions: []string{west, "sa-east-1"}}}
			},
			[]string{"SSMParameter.Regions: AMI is not copied to sa-east-1"},
		},
		"parameter that is not to be overwritten": {
			func(s spoiled) {
				putParameter(s.t, s.server, west, "/web")
				s.img.Publishers = []bake.Publisher{ec2.SSMParameter{Name: "/web", NoOverwrite: true}}
			},
			[]string{west + ": SSMParameter.NoOverwrite: parameter /web already exists"},
		},
		"public where it is blocked": {
			func(s spoiled) {
				allowPublic(s.t, s.server, testRegion)
				s.b.Distribute.LaunchPermissions.Public = true
			},
			[]string{
				west + ": Builder.Distribute.LaunchPermissions.Public: the account blocks public access to AMIs in this region",
				prod + ": Builder.Distribute.LaunchPermissions.Public: ",
			},
		},
		"public at home": {
			func(s spoiled) {
				allowPublic(s.t, s.server, west, "us-east-1", prod)
				s.b.Distribute.LaunchPermissions.Public = true
			},
			[]string{"check destinations: " + testRegion + ": Builder.Distribute.LaunchPermissions.Public: the account blocks"},
		},
		"public snapshots": {
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
		"public though all is encrypted": {
			func(s spoiled) {
				allowPublic(s.t, s.server, definitionPlaces()...)
				if _, err := awsec2.NewFromConfig(owner(s.server, prod)).EnableEbsEncryptionByDefault(s.t.Context(), nil); err != nil {
					s.t.Fatal(err)
				}
				s.b.Distribute.LaunchPermissions.Public = true
			},
			[]string{prod + ": Builder.Distribute.LaunchPermissions.Public: the account encrypts all new volumes in this region"},
		},
		"two things": {
			func(s spoiled) {
				takeName(s.t, s.server, testRegion, false)
				s.b.Distribute.Copies[1].KMSKey = "alias/none"
			},
			[]string{testRegion + ": Builder.AMIName: ", west + ": Builder.Distribute.Copies[1].KMSKey: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := roleServer(t, nil)
			cloud := newCloud(server)
			newTemplate(t, awsec2.NewFromConfig(server.Config(testRegion)))
			if !strings.HasPrefix(name, "disabled") {
				server.AddKey(west, "alias/west")
			}
			img := multiRegion(cloud)
			b, _ := img.Builder.(ec2.Builder)
			b.AMIName = "web"
			test.spoil(spoiled{t, server, &b, img})
			img.Builder = b
			_, planErr := ec2.Plan(t.Context(), img)
			_, bakeErr := bake.Bake(t.Context(), fastOptions(), img)
			for _, want := range test.want {
				if bakeErr == nil || !strings.Contains(bakeErr.Error(), want) {
					t.Errorf("bake: %v, want %q", bakeErr, want)
				}
				if planErr == nil || !strings.Contains(planErr.Error(), want) {
					t.Errorf("plan: %v, want %q", planErr, want)
				}
			}
			if n := server.CallCount("RunInstances"); n > 1 { // which Plan tries
				t.Errorf("%d instances were launched", n)
			}
		})
	}
}

// TestPreflightCallCount counts what looking at places costs: nothing for a bake
// that goes nowhere, and for many bakes little more than for one.
func TestPreflightCallCount(t *testing.T) {
	server := newServer(t, nil)
	if _, err := bake.Bake(t.Context(), nil, simple(newCloud(server))); err != nil {
		t.Fatal(err)
	}
	before := slices.IndexFunc(server.Calls(), func(c ec2test.Call) bool { return c.Action == "RunInstances" })
	if before != 4 {
		t.Errorf("a plain bake makes %d calls before its launch, want 4: source, subnets, and a group with a rule", before)
	}

	server = roleServer(t, nil)
	server.AddKey("us-west-2", "alias/west")
	for _, place := range []string{testRegion, prodAccount + "/" + testRegion} {
		newTemplate(t, awsec2.NewFromConfig(owner(server, place)))
	}
	server.Fail(ec2test.Fault{Action: "DescribeSubnets", Code: "UnauthorizedOperation", Times: -1}) // comes next
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
		t.Fatalf("error %v, want that of the subnets", err)
	}
	for action, most := range map[string]int{
		"DescribeLaunchTemplates": 2, "GetCallerIdentity": 2, "AssumeRole": 1, "DescribeKey": 1, // two accounts
		"DescribeImages": bakes, // a quarter of what each by itself would need; usually it is a dozen
	} {
		if n := server.CallCount(action); n > most {
			t.Errorf("%d bakes made %d calls of %s, want %d at most", bakes, n, action, most)
		}
	}
}

// TestCheckMachineWithFixedAMIName bakes under a fixed name and checks the AMI, which has
// that name by then.
func TestCheckMachineWithFixedAMIName(t *testing.T) {
	server := newServer(t, nil)
	cloud := newCloud(server)
	img := simple(cloud)
	img.Builder = ec2.Builder{Cloud: cloud, Source: ubuntu(), AMIName: "web"}
	var seen ec2types.Instance
	img.Checks = []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, _ bake.Machine) error { return describeMachine(cloud, &seen).Do(ctx) }}}
	if _, err := bake.Bake(t.Context(), nil, img); err != nil {
		t.Error(err)
	}
}
