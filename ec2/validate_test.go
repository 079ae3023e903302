package ec2_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
)

func TestValidate(t *testing.T) {
	cloud := ec2.NewCloud(aws.Config{Region: testRegion}, nil)
	good := ec2.Builder{Cloud: cloud, Source: ubuntu()}
	tests := map[string]struct {
		name   string
		change func(*ec2.Builder)
		want   string
	}{
		"no cloud":         {change: func(b *ec2.Builder) { b.Cloud = nil }, want: "Builder.Cloud: is required"},
		"no region":        {change: func(b *ec2.Builder) { b.Cloud = ec2.NewCloud(aws.Config{}, nil) }, want: "Builder.Region: is required"},
		"no source":        {change: func(b *ec2.Builder) { b.Source = nil }, want: "Builder.Source: is required"},
		"no owners":        {change: func(b *ec2.Builder) { b.Source = ec2.Newest{Name: "x"} }, want: "Newest.Owners is required"},
		"wrong id":         {change: func(b *ec2.Builder) { b.Source = ec2.ImageID("i-1") }, want: `"i-1" is not the id of an AMI`},
		"empty parameter":  {change: func(b *ec2.Builder) { b.Source = ec2.Parameter("") }, want: "the parameter has no name"},
		"name EC2 refuses": {name: "a*b", change: func(*ec2.Builder) {}, want: `Builder.AMIName: "a*b `},
		"name too short":   {change: func(b *ec2.Builder) { b.AMIName = "ab" }, want: `Builder.AMIName: "ab"`},
		"id and filters":   {change: func(b *ec2.Builder) { b.Subnet = ec2.Match{ID: "s", Filters: ec2.Filters{"a": {"b"}}} }, want: "Builder.Subnet: takes an ID or Filters"},
		"groups and networks": {change: func(b *ec2.Builder) {
			b.SecurityGroups = []string{"a"}
			b.SSHFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}, want: "Builder.SSHFrom"},
		"no network":          {change: func(b *ec2.Builder) { b.SSHFrom = []netip.Prefix{{}} }, want: "is not a network"},
		"contradiction":       {change: func(b *ec2.Builder) { b.PublicIP = ec2.No; b.Address = ec2.PublicAddress }, want: "Builder.Address: there is no public address"},
		"long user data":      {change: func(b *ec2.Builder) { b.UserData = make([]byte, 20000) }, want: "Builder.UserData: is 20000 bytes"},
		"unknown user data":   {change: func(b *ec2.Builder) { b.UserData = []byte("echo hello") }, want: "Builder.UserData: is in no form that cloud-init knows"},
		"device twice":        {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{SizeGiB: 1}, {SizeGiB: 2}} }, want: "is given twice"},
		"device without size": {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Device: "/dev/sdf"}} }, want: "Builder.BlockDevices[/dev/sdf]: needs SizeGiB or Snapshot"},
		"type and types":      {change: func(b *ec2.Builder) { b.InstanceType = "t3.small"; b.InstanceTypes = []string{"t3.micro"} }, want: "Builder.InstanceTypes: cannot be set together"},
		"type twice":          {change: func(b *ec2.Builder) { b.InstanceTypes = []string{"t3.micro", "t3.micro"} }, want: "Builder.InstanceTypes: \"t3.micro\" is empty or given twice"},
		"spot price":          {change: func(b *ec2.Builder) { b.Spot = &ec2.Spot{MaxPrice: "cheap"} }, want: "Builder.Spot.MaxPrice: \"cheap\" is not a price"},
		"negative wait":       {change: func(b *ec2.Builder) { b.CapacityWait = -1 }, want: "Builder.CapacityWait"},
		"reserved tag":        {change: func(b *ec2.Builder) { b.Tags = map[string]string{"aws:x": ""} }, want: `Tags: "aws:x": the prefix is reserved`},
		"our tag":             {change: func(b *ec2.Builder) { b.Tags = map[string]string{"Bakestone:x": ""} }, want: "the prefix is reserved"},
		"long tag":            {change: func(b *ec2.Builder) { b.Tags = map[string]string{"x": strings.Repeat("x", 300)} }, want: "values at most 256"},
		"negative timeout":    {change: func(b *ec2.Builder) { b.BootTimeout = -1 }, want: "no timeout may be negative"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := good
			test.change(&b)
			if test.name == "" {
				test.name = "valid"
			}
			_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: test.name, Builder: b})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "image "+test.name) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
	base := &bake.Image{Name: "base", Builder: good}
	err := bake.Validate(nil, base, &bake.Image{Name: "layer", From: base, Builder: good})
	if err == nil || !strings.Contains(err.Error(), "image layer: Builder.Source: cannot be set together with Image.From") {
		t.Errorf("source and From: %v", err)
	}
	if err := bake.Validate(nil, base, &bake.Image{Name: "layer", From: base, Builder: ec2.Builder{Cloud: cloud}}); err != nil {
		t.Errorf("a layer: %v", err)
	}
}
