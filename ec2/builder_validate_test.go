package ec2_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/sshmachine"
	"github.com/bakestone-go/bakestone/ec2"
)

// noise returns a script of about n bytes that does not compress.
func noise(n int) []byte {
	random := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // never fails
	return append([]byte("#!/bin/sh\nexit\n"), random...)
}

func TestValidate(t *testing.T) {
	cloud := ec2.NewCloud(aws.Config{Region: testRegion}, nil)
	good := ec2.Builder{Cloud: cloud, Source: ubuntu()}
	tests := map[string]struct {
		name   string
		change func(*ec2.Builder)
		want   string
	}{
		"no cloud":        {change: func(b *ec2.Builder) { b.Cloud = nil }, want: "Builder.Cloud: is required"},
		"no region":       {change: func(b *ec2.Builder) { b.Cloud = ec2.NewCloud(aws.Config{}, nil) }, want: "Builder.Region: is required"},
		"no source":       {change: func(b *ec2.Builder) { b.Source = nil }, want: "Builder.Source: is required"},
		"no owners":       {change: func(b *ec2.Builder) { b.Source = ec2.Newest{Name: "x"} }, want: "Newest.Owners is required"},
		"invalid id":      {change: func(b *ec2.Builder) { b.Source = ec2.ImageID("i-1") }, want: `invalid AMI id "i-1"`},
		"empty parameter": {change: func(b *ec2.Builder) { b.Source = ec2.ParameterName("") }, want: "parameter name is empty"},
		"invalid name":    {name: "a*b", change: func(*ec2.Builder) {}, want: `Builder.AMIName: invalid name "a*b `},
		"name too short":  {change: func(b *ec2.Builder) { b.AMIName = "ab" }, want: `Builder.AMIName: invalid name "ab"`},
		"id and filters":  {change: func(b *ec2.Builder) { b.Network.Subnet = ec2.Selector{ID: "s", Filters: ec2.Filters{"a": {"b"}}} }, want: "Builder.Network.Subnet: takes an ID or Filters"},
		"groups and networks": {change: func(b *ec2.Builder) {
			b.Network.SecurityGroups = []string{"a"}
			b.SSH.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}, want: "Builder.SSH.From"},
		"invalid network":     {change: func(b *ec2.Builder) { b.SSH.From = []netip.Prefix{{}} }, want: "Builder.SSH.From: invalid network"},
		"no public address":   {change: func(b *ec2.Builder) { b.Network.PublicIP = ec2.Disabled; b.SSH.Address = ec2.PublicAddress }, want: "Builder.SSH.Address: public addresses need Network.PublicIP"},
		"long user data":      {change: func(b *ec2.Builder) { b.UserData = noise(16 << 10) }, want: "and compressed, want at most 162"},
		"unknown user data":   {change: func(b *ec2.Builder) { b.UserData = []byte("echo hello") }, want: "Builder.UserData: unknown cloud-init format"},
		"Windows user data":   {change: func(b *ec2.Builder) { b.UserData = []byte("\n<PowerShell>\nexit\n</PowerShell>") }, want: "Builder.UserData: is for Windows: a Builder needs a guest with cloud-init"},
		"Windows batch":       {change: func(b *ec2.Builder) { b.UserData = []byte("\ufeff<script>\r\nexit\r\n</script>") }, want: "Builder.UserData: is for Windows"},
		"Windows, persistent": {change: func(b *ec2.Builder) { b.UserData = []byte("<persist>true</persist><powershell>exit</powershell>") }, want: "Builder.UserData: is for Windows"},
		"Windows tasks":       {change: func(b *ec2.Builder) { b.UserData = []byte("version: 1.1\ntasks:\n- task: executeScript\n") }, want: "Builder.UserData: is for Windows"},
		"device twice":        {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{SizeGiB: 1}, {SizeGiB: 2}} }, want: "is given twice"},
		"device without size": {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Device: "/dev/sdf"}} }, want: "Builder.BlockDevices[/dev/sdf]: needs SizeGiB or Snapshot"},
		"type twice":          {change: func(b *ec2.Builder) { b.InstanceTypes = []string{"t3.micro", "t3.micro"} }, want: "Builder.InstanceTypes: instance type \"t3.micro\" is empty or given twice"},
		"spot price":          {change: func(b *ec2.Builder) { b.Spot = &ec2.Spot{MaxPrice: "cheap"} }, want: "Builder.Spot.MaxPrice: invalid price \"cheap\""},
		"drivers on spot":     {change: func(b *ec2.Builder) { b.Spot, b.Capture.ENA = &ec2.Spot{}, true }, want: "Builder.Spot: cannot be set together with Capture.ENA"},
		"negative wait":       {change: func(b *ec2.Builder) { b.CapacityWait = -1 }, want: "Builder.CapacityWait"},
		"tenancy":             {change: func(b *ec2.Builder) { b.Placement.Tenancy = "mine" }, want: "Builder.Placement.Tenancy: unknown value \"mine\""},
		"host and group":      {change: func(b *ec2.Builder) { b.Placement.Host, b.Placement.HostResourceGroup = "h-1", "arn" }, want: "Builder.Placement.HostResourceGroup: cannot be set together"},
		"host and tenancy":    {change: func(b *ec2.Builder) { b.Placement.Host, b.Placement.Tenancy = "h-1", "dedicated" }, want: "Builder.Placement.Tenancy: cannot be \"dedicated\" together with Host"},
		"two reservations": {change: func(b *ec2.Builder) {
			b.Placement.CapacityReservation, b.Placement.NoCapacityReservation = "cr-1", true
		}, want: "Builder.Placement.CapacityReservation: only one"},
		"spot, reservation":    {change: func(b *ec2.Builder) { b.Placement.CapacityReservation, b.Spot = "cr-1", &ec2.Spot{} }, want: "spot instances cannot use capacity reservations"},
		"no metadata, no keys": {change: func(b *ec2.Builder) { b.Metadata.Off = true }, want: "Builder.Metadata.Off: requires SSH.Auth and SSH.HostKey"},
		"no metadata, tags":    {change: func(b *ec2.Builder) { b.Metadata = ec2.Metadata{Off: true, Tags: true} }, want: "Builder.Metadata.Off: cannot be set together with Metadata.Tags"},
		"no metadata, profile": {change: func(b *ec2.Builder) { b.Metadata.Off, b.InstanceProfile = true, "web" }, want: "Builder.Metadata.Off: cannot be set together with InstanceProfile"},
		"hop limit":            {change: func(b *ec2.Builder) { b.Metadata.HopLimit = 65 }, want: "Builder.Metadata.HopLimit: 65 is not between"},
		"unknown address":      {change: func(b *ec2.Builder) { b.SSH.Address = 99 }, want: "Builder.SSH.Address: unknown value 99"},
		"no IPv6":              {change: func(b *ec2.Builder) { b.SSH.Address = ec2.IPv6Address }, want: "Builder.SSH.Address: IPv6Address needs Network.IPv6"},
		"private IPv6":         {change: func(b *ec2.Builder) { b.Network.PrivateIP = netip.MustParseAddr("::1") }, want: "Builder.Network.PrivateIP: ::1 is not an IPv4"},
		"groups and filters": {change: func(b *ec2.Builder) {
			b.Network.SecurityGroups, b.Network.SecurityGroupFilters = []string{"a"}, ec2.Filters{"b": {"c"}}
		}, want: "Builder.Network.SecurityGroupFilters: cannot"},
		"volume type":         {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Type: "fast"}} }, want: "Builder.BlockDevices[]: unknown Type \"fast\""},
		"IOPS of gp2":         {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Type: "gp2", IOPS: 100}} }, want: "gp2 does not support IOPS"},
		"io2 without IOPS":    {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Type: "io2"}} }, want: "io2 needs IOPS"},
		"throughput of io2":   {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Type: "io2", IOPS: 100, ThroughputMiB: 200}} }, want: "io2 does not support ThroughputMiB"},
		"initialization":      {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{InitializationMiB: 50}} }, want: "InitializationMiB 50 is not between"},
		"snapshot id":         {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Device: "/dev/sdf", Snapshot: "vol-1"}} }, want: "Builder.BlockDevices[/dev/sdf]: invalid snapshot id \"vol-1\""},
		"device of the guest": {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Device: "/dev/nvme1n1", SizeGiB: 9}} }, want: "Builder.BlockDevices[/dev/nvme1n1]: is a name of the guest's"},
		"slow root":           {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Type: "st1", SizeGiB: 200}} }, want: "Builder.BlockDevices[]: Type st1 cannot be that of a root device"},
		"login":               {change: func(b *ec2.Builder) { b.SSH.User = "ubuntu " }, want: "Builder.SSH.User: invalid login \"ubuntu \""},
		"omit the root":       {change: func(b *ec2.Builder) { b.BlockDevices = []ec2.BlockDevice{{Omit: true}} }, want: "Omit needs Device"},
		"SSH port":            {change: func(b *ec2.Builder) { b.SSH.Port = 1 << 16 }, want: "Builder.SSH.Port: invalid port 65536"},
		"two host keys":       {change: func(b *ec2.Builder) { b.SSH.ConsoleHostKey, b.SSH.HostKey = true, sshmachine.InsecureAnyHostKey() }, want: "Builder.SSH.ConsoleHostKey: cannot be set together"},
		"bastion, no From":    {change: func(b *ec2.Builder) { b.SSH.Via = []sshmachine.Hop{{}} }, want: "Builder.SSH.From: is required with Via"},
		"invalid key":         {change: func(b *ec2.Builder) { b.SSH.Auth = []sshmachine.Auth{sshmachine.PrivateKey(nil, bake.Secret{})} }, want: "Builder.SSH: Config.Auth: private key: "},
		"no bastion host key": {change: func(b *ec2.Builder) { b.SSH.Via = []sshmachine.Hop{{Addr: "bastion"}} }, want: "Config.Via[0].HostKey: is required"},
		"dial and proxy": {change: func(b *ec2.Builder) {
			b.SSH.Proxy = &sshmachine.Proxy{}
			b.SSH.Dial = func(context.Context, ec2.SSHTarget) (net.Conn, error) { return nil, net.ErrClosed }
		}, want: "Builder.SSH.Dial: cannot be set together with Via and Proxy"},
		"two profiles":   {change: func(b *ec2.Builder) { b.InstanceProfile, b.InstanceProfilePolicy = "a", readBucket }, want: "Builder.InstanceProfilePolicy: cannot be set together"},
		"invalid policy": {change: func(b *ec2.Builder) { b.InstanceProfilePolicy = "{" }, want: "Builder.InstanceProfilePolicy: is not JSON"},
		"empty policy":   {change: func(b *ec2.Builder) { b.InstanceProfilePolicy = "{}" }, want: "Builder.InstanceProfilePolicy: has no Statement"},
		"printed secrets": {change: func(b *ec2.Builder) {
			token := fmt.Sprint(bake.NewSecret("hunter2"))
			b.UserData, b.Tags = []byte("#cloud-config\npassword: "+token), map[string]string{"team": "web", "token": token}
		}, want: "Builder.UserData: contains [redacted], the printed form of a bake.Secret"},
		"reserved tag": {change: func(b *ec2.Builder) { b.Tags = map[string]string{"aws:x": ""} }, want: `Tags: "aws:x" has a reserved prefix`},
		"own tag":      {change: func(b *ec2.Builder) { b.Tags = map[string]string{"Bakestone:x": ""} }, want: "has a reserved prefix"},
		"long tag":     {change: func(b *ec2.Builder) { b.Tags = map[string]string{"x": strings.Repeat("x", 300)} }, want: "values at most 256"},
		"invalid IAM tag": {change: func(b *ec2.Builder) {
			b.Tags, b.InstanceProfilePolicy = map[string]string{"team": "web (prod)"}, readBucket
		}, want: `Tags: invalid tag text "web (prod)"`},
		"invalid IAM name": {name: "web [1]", change: func(b *ec2.Builder) { b.InstanceProfilePolicy = readBucket }, want: `Image.Name: invalid tag text "web [1]"`},
		"too many tags": {change: func(b *ec2.Builder) {
			b.Tags = map[string]string{}
			for i := range 42 {
				b.Tags[fmt.Sprint(i)] = ""
			}
		}, want: "Tags: 42 tags, want at most 41"},
		"long name":        {name: strings.Repeat("x", 300), change: func(b *ec2.Builder) { b.AMIName = "web" }, want: "Image.Name: is 300 characters, want at most 200"},
		"long description": {change: func(b *ec2.Builder) { b.Description = strings.Repeat("x", 256) }, want: "Builder.Description: is 256 characters, want at most 255"},
		"negative timeout": {change: func(b *ec2.Builder) { b.SSH.ConnectTimeout = -1 }, want: "Builder.SSH.ConnectTimeout: must not be negative"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := good
			test.change(&b)
			if test.name == "" {
				test.name = "valid"
			}
			_, err := bake.Bake(t.Context(), nil, &bake.Image{Name: test.name, Builder: b})
			wantError(t, "Bake", err, test.want, "image "+test.name)
		})
	}
	base := &bake.Image{Name: "base", Builder: good}
	err := bake.Validate(nil, base, &bake.Image{Name: "layer", From: base, Builder: good})
	wantError(t, "Validate", err, "image layer: Builder.Source: cannot be set together with Image.From")
	if err := bake.Validate(nil, base, &bake.Image{Name: "layer", From: base, Builder: ec2.Builder{Cloud: cloud}}); err != nil {
		t.Errorf("Validate() of a layer: error = %v", err)
	}
}

// TestConflictingAMINames validates two images whose AMIs have the same name in
// a place where one is baked or copied to.
func TestConflictingAMINames(t *testing.T) {
	cloud, other := ec2.NewCloud(aws.Config{Region: testRegion}, nil), ec2.NewCloud(aws.Config{Region: testRegion}, nil)
	builder := func(c *ec2.Cloud, region, name string, copies ...ec2.Copy) ec2.Builder {
		return ec2.Builder{Cloud: c, Region: region, Source: ubuntu(), AMIName: name, Distribute: ec2.Distribution{Copies: copies}}
	}
	for name, test := range map[string]struct {
		one, two ec2.Builder
		want     string // region of the conflict
	}{
		"the same place":    {builder(cloud, "", "shop"), builder(cloud, testRegion, "shop"), testRegion},
		"a copy":            {builder(cloud, "", "shop", ec2.CopyTo("us-west-2")...), builder(cloud, "us-west-2", "shop"), "us-west-2"},
		"two copies":        {builder(cloud, "us-east-1", "shop", ec2.CopyTo("us-west-2")...), builder(cloud, "", "shop", ec2.CopyTo("us-west-2")...), "us-west-2"},
		"a copy elsewhere":  {builder(cloud, "", "shop", ec2.Copy{Region: "us-west-2", Cloud: other}), builder(other, "us-west-2", "shop"), "us-west-2"},
		"two names":         {builder(cloud, "", "shop"), builder(cloud, "", "shopping"), ""},
		"names with a time": {builder(cloud, "", ""), builder(cloud, "", ""), ""},
		"two regions":       {builder(cloud, "", "shop"), builder(cloud, "us-west-2", "shop"), ""},
		"unknown accounts":  {builder(cloud, "", "shop"), builder(other, "", "shop"), ""},
	} {
		err := bake.Validate(nil, &bake.Image{Name: "one", Builder: test.one}, &bake.Image{Name: "two", Builder: test.two})
		want := ""
		if test.want != "" {
			want = `image two: Builder.AMIName: image "one" has the same name "shop" in ` + test.want
		}
		if got := fmt.Sprint(err); err != nil && got != want || err == nil && want != "" {
			t.Errorf("%s: Validate() error = %v, want %q", name, got, want)
		}
	}
}
