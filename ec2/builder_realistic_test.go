package ec2_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/provision"
)

// shop returns a definition as a team with two accounts might write it. It uses
// most options.
func shop(cloud, prod *ec2.Cloud, manifest string) *bake.Image {
	return &bake.Image{
		Name: "shop",
		Builder: ec2.Builder{
			Cloud:            cloud,
			Source:           ubuntu(),
			AMIName:          "shop",
			ReplaceAMI:       true,
			Description:      "the shop, with its page",
			UnlimitedCredits: ec2.Disabled,
			InstanceTypes:    []string{"t3.medium", "t3.small"},
			Network:          ec2.Network{VPC: ec2.ByFilter(ec2.Filters{"is-default": {"true"}}), Subnet: ec2.ByFilter(ec2.Filters{"default-for-az": {"true"}}), PublicIP: ec2.Enabled},
			Metadata:         ec2.Metadata{HopLimit: 2, Tags: true},
			EBSOptimized:     true,
			Monitoring:       true,
			SSH:              ec2.SSH{ConnectTimeout: 5 * time.Minute},
			UserData:         []byte("#cloud-config\npackage_update: false\n"),
			BlockDevices: []ec2.BlockDevice{
				{SizeGiB: 16, ThroughputMiB: 500, KMSKey: "alias/images"},
				{Device: "/dev/sdf", SizeGiB: 4, Type: "gp2"},
			},
			Tags:         map[string]string{"cost-center": "42"},
			GuestCleanup: ec2.GuestCleanup{Also: []ec2.CleanupItem{ec2.PackageCaches}},
			Capture: ec2.Capture{FromSnapshots: true, Devices: []ec2.AMIDevice{
				{BlockDevice: ec2.BlockDevice{Type: "gp3"}},
				{BlockDevice: ec2.BlockDevice{Device: "/dev/sdf"}, Omit: true},
			}},
			Distribute: ec2.Distribution{
				Copies: []ec2.Copy{
					{Region: "us-west-2", KMSKey: "alias/west"},
					{Region: testRegion, Cloud: prod, KMSKey: "alias/prod"},
				},
				LaunchPermissions: ec2.Permissions{Accounts: []string{friend}},
				DeprecateAfter:    90 * 24 * time.Hour,
				Protection:        ec2.Protected,
			},
		},
		Provisioners: []bake.Provisioner{
			provision.Shell("mkdir -p /srv/shop").AsRoot(),
			provision.File{Content: "a page\n", Dest: "/srv/shop/index.html", Sudo: true},
		},
		Checks: []bake.Check{bake.CheckFunc{Do: func(ctx context.Context, m bake.Machine) error {
			return m.Run(ctx, bake.Sh("grep -q page /srv/shop/index.html"))
		}}},
		Publishers: []bake.Publisher{
			ec2.SSMParameter{Name: "/images/shop", Description: "the newest shop"},
			ec2.LaunchTemplate{Name: "web", MakeDefault: true},
			ec2.PackerManifest{Path: manifest, CustomData: map[string]string{"commit": "0ff596ad"}},
			ec2.JSONFile{Path: manifest + ".ami"},
		},
		Tags: map[string]string{"team": "shop"},
	}
}

// TestRealisticDefinition bakes shop, and fails to replace the protected AMI.
func TestRealisticDefinition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := roleServer(t, nil)
		cloud := newCloud(server)
		prod := cloud.Assume(ec2.Role{ARN: prodRole})
		manifest := filepath.Join(t.TempDir(), "manifest.json")
		if err := server.ShareKey(server.AddKey(testRegion, "alias/images"), prodAccount); err != nil {
			t.Fatal(err)
		}
		newTemplates(t, server, shopPlaces()...)
		results, err := bake.Bake(t.Context(), nil, shop(cloud, prod, manifest))
		if err != nil {
			t.Fatal(err)
		}
		ami := amiOf(t, results[0])
		again, err := bake.Bake(t.Context(), nil, shop(cloud, prod, manifest))
		wantError(t, "Bake", err, "Builder.ReplaceAMI: "+ami.ImageID+" has deregistration protection")
		if got := again[0].Artifact; got != nil {
			t.Errorf("artifact of the second bake = %v, want nil", got)
		}
		if got, want := placesOf(ami), shopPlaces(); !slices.Equal(got, want) || ami.Name != "shop" {
			t.Fatalf("AMI %q is in %v, want %q in %v", ami.Name, got, "shop", want)
		}
		for place, id := range ami.IDs() {
			cfg := owner(server, place)
			out, err := ssm.NewFromConfig(cfg).GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/images/shop")})
			if err != nil || *out.Parameter.Value != id {
				t.Errorf("%s: GetParameter() = %+v, %v, want %s", place, out, err, id)
			}
			newest := versions(t, awsec2.NewFromConfig(cfg))[0]
			if *newest.LaunchTemplateData.ImageId != id || !*newest.DefaultVersion {
				t.Errorf("%s: newest launch template version = %+v, want the default, which launches %s", place, newest, id)
			}
			wantFile(t, server, id, "/srv/shop/index.html", "a page\n")
		}
		image := describe(t, cloud, "", ami.ImageID)
		if len(image.BlockDeviceMappings) != 1 || !*image.BlockDeviceMappings[0].Ebs.Encrypted || *image.BlockDeviceMappings[0].Ebs.VolumeSize != 16 ||
			*image.Description != "the shop, with its page" || image.ImdsSupport != "v2.0" {
			t.Errorf("AMI = %+v, want one encrypted device of 16 GiB, the description, and IMDSv2", image)
		}
		data, err := os.ReadFile(manifest)
		if err != nil {
			t.Fatal(err)
		}
		var file packerManifest
		if err := json.Unmarshal(data, &file); err != nil || len(file.Builds) != 1 {
			t.Errorf("manifest = %s (error %v), want one build", data, err)
		}
		destroy(t, ami)
		wantOnlyTemplates(t, server)
	})
}
