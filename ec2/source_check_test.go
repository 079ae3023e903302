package ec2_test

import (
	"testing"
	"testing/synctest"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// TestSourceChecks bakes definitions that do not fit their source, or name none, and checks
// that Bake fails before anything is created.
func TestSourceChecks(t *testing.T) {
	devices := func(d ...ec2.BlockDevice) func(*ec2.Builder) {
		return func(b *ec2.Builder) { b.BlockDevices = d }
	}
	for name, test := range map[string]struct {
		change func(*ec2.Builder)
		want   []string
	}{
		"root smaller than the source": {
			devices(ec2.BlockDevice{SizeGiB: 4}),
			[]string{"check source image: Builder.BlockDevices[]: SizeGiB 4 is less than the 8 of the volume of ami-"},
		},
		"root twice": {
			devices(ec2.BlockDevice{SizeGiB: 9}, ec2.BlockDevice{Device: "/dev/sda1", SizeGiB: 9}),
			[]string{"check source image: Builder.BlockDevices[/dev/sda1]: is the root device of ami-", "given without Device as well"},
		},
		"root omitted by its name": {
			devices(ec2.BlockDevice{Device: "/dev/sda1", Omit: true}),
			[]string{"check source image: Builder.BlockDevices[/dev/sda1]: the root device of ami-"},
		},
		"unknown volume omitted": {
			devices(ec2.BlockDevice{Device: "/dev/sdq", Omit: true}),
			[]string{"check source image: Builder.BlockDevices[/dev/sdq]: ami-", " has no such volume to omit"},
		},
		"unknown filter": {
			func(b *ec2.Builder) {
				b.Source = ec2.Newest{Owners: []string{ec2.Canonical}, Name: "ubuntu*", Filters: ec2.Filters{"nonsense": {"x"}}}
			},
			[]string{"find source image: Builder.Source: EC2 does not accept the filters: "},
		},
		"parameter without an id": {
			func(b *ec2.Builder) { b.Source = ec2.ParameterName("/images/other") },
			[]string{`find source image: Builder.Source: parameter /images/other: invalid AMI id "another"`},
		},
		"region with a space": {
			func(b *ec2.Builder) { b.Region = testRegion + " " },
			[]string{`find source image: Builder.Region: invalid region "` + testRegion + ` "`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, &ec2test.Options{Regions: []string{testRegion}})
				putParameter(t, server, testRegion, "/images/other")
				img := configure(simple(newCloud(server)), test.change)
				_, err := bake.Bake(t.Context(), nil, img)
				wantError(t, "Bake", err, test.want...)
				for _, call := range server.Calls() {
					if !reads(call) && call.Action != "PutParameter" {
						t.Errorf("%s was called", call.Action)
					}
				}
			})
		})
	}
}
