package ec2_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2"
	"github.com/bakestone-go/bakestone/ec2/ec2test"
)

// devicesOf returns the devices of an AMI as text.
func devicesOf(t *testing.T, cloud *ec2.Cloud, id string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, m := range describe(t, cloud, "", id).BlockDeviceMappings {
		if m.Ebs == nil {
			got[*m.DeviceName] = aws.ToString(m.VirtualName)
			continue
		}
		text := fmt.Sprint(aws.ToInt32(m.Ebs.VolumeSize), " ", m.Ebs.VolumeType)
		if m.Ebs.Iops != nil {
			text += fmt.Sprint(" ", *m.Ebs.Iops)
		}
		if m.Ebs.Throughput != nil {
			text += fmt.Sprint("/", *m.Ebs.Throughput)
		}
		if m.Ebs.SnapshotId == nil {
			text += " empty"
		}
		if aws.ToBool(m.Ebs.Encrypted) {
			text += " encrypted"
		}
		if !aws.ToBool(m.Ebs.DeleteOnTermination) {
			text += " kept"
		}
		got[*m.DeviceName] = text
	}
	return got
}

// volumes returns a root volume and volumes of other types.
func volumes() []ec2.BlockDevice {
	return []ec2.BlockDevice{
		{SizeGiB: 20, ThroughputMiB: 500},
		{Device: "/dev/sdf", SizeGiB: 5},
		{Device: "/dev/sdg", SizeGiB: 6, Type: "gp2"},
		{Device: "/dev/sdj", SizeGiB: 8, Type: "io2", IOPS: 1000},
	}
}

func TestAMIDevices(t *testing.T) {
	extra := []ec2.AMIDevice{
		{BlockDevice: ec2.BlockDevice{Device: "/dev/sdf"}, Omit: true},
		{BlockDevice: ec2.BlockDevice{Device: "/dev/sdh", SizeGiB: 7, Type: "gp2", KeepOnTermination: true}},
		{BlockDevice: ec2.BlockDevice{Device: "/dev/sdk", SizeGiB: 9, Encrypted: ec2.Enabled}},
		{BlockDevice: ec2.BlockDevice{Device: "/dev/sdi"}, Ephemeral: "ephemeral0"},
	}
	for name, test := range map[string]struct {
		fromSnapshots bool
		devices       []ec2.AMIDevice
		want          map[string]string
	}{
		"CreateImage": {
			devices: []ec2.AMIDevice{
				{BlockDevice: ec2.BlockDevice{KeepOnTermination: true}},
				{BlockDevice: ec2.BlockDevice{Device: "/dev/sdg", KeepOnTermination: true}},
			},
			want: map[string]string{"/dev/sda1": "20 gp3 3000/500 kept", "/dev/sdg": "6 gp2 kept", "/dev/sdj": "8 io2 1000"},
		},
		"from snapshots": {
			fromSnapshots: true,
			devices: []ec2.AMIDevice{
				{BlockDevice: ec2.BlockDevice{SizeGiB: 30, IOPS: 4000}},
				{BlockDevice: ec2.BlockDevice{Device: "/dev/sdg", SizeGiB: 6, KeepOnTermination: true}},
				{BlockDevice: ec2.BlockDevice{Device: "/dev/sdj", SizeGiB: 9, InitializationMiB: 200}},
			},
			want: map[string]string{"/dev/sda1": "30 gp3 4000/500", "/dev/sdg": "6 gp2 kept", "/dev/sdj": "9 io2 1000"},
		},
		"from snapshots, other types": {
			fromSnapshots: true,
			devices: []ec2.AMIDevice{
				{BlockDevice: ec2.BlockDevice{Type: "gp3"}}, // drops the throughput of the bake
				{BlockDevice: ec2.BlockDevice{Device: "/dev/sdg", Type: "gp3", ThroughputMiB: 300}},
				{BlockDevice: ec2.BlockDevice{Device: "/dev/sdj", Type: "gp2"}},
			},
			want: map[string]string{"/dev/sda1": "20 gp3", "/dev/sdg": "6 gp3/300", "/dev/sdj": "8 gp2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := newServer(t, nil)
				cloud := newCloud(server)
				img := captured(cloud, ec2.Capture{FromSnapshots: test.fromSnapshots, Devices: append(test.devices, extra...)})
				configure(img, func(b *ec2.Builder) { b.BlockDevices = volumes() })
				results, err := bake.Bake(t.Context(), nil, img)
				if err != nil {
					t.Fatal(err)
				}
				test.want["/dev/sdh"], test.want["/dev/sdk"], test.want["/dev/sdi"] = "7 gp2 empty kept", "9 gp3 empty encrypted", "ephemeral0"
				if diff := cmp.Diff(test.want, devicesOf(t, cloud, results[0].Artifact.ID())); diff != "" {
					t.Errorf("devices (-want +got):\n%s", diff)
				}
				destroy(t, results[0].Artifact)
				wantNoLeftovers(t, server)
			})
		})
	}
}

type invalidDevice struct {
	want          string // in the error
	fromSnapshots bool
	device        ec2.AMIDevice
	always        bool // invalid even if the volume is unknown
}

// invalidDevices returns devices that are invalid if the instance has a volume
// of 8 GiB and type gp2 there.
func invalidDevices(device string) []invalidDevice {
	const onlyKeep = "CreateImage can change only KeepOnTermination of the instance's volumes: change them in Builder.BlockDevices, or set FromSnapshots"
	all := []invalidDevice{
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{SizeGiB: 20}}},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{SizeGiB: 8, KeepOnTermination: true}}},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Type: "gp3"}}},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{IOPS: 4000}}},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{ThroughputMiB: 300}}},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{InitializationMiB: 200}}, always: true},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Snapshot: "snap-1"}}},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Encrypted: ec2.Enabled}}},
		{want: onlyKeep, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{KMSKey: "alias/images"}}, always: true},
	}
	for _, d := range []invalidDevice{
		{want: "SizeGiB 7 is less than the instance's volume, 8", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{SizeGiB: 7}}},
		{want: "SizeGiB -1 is not between 0 and 65536", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{SizeGiB: -1}}, always: true},
		{want: "gp2 does not support IOPS", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{IOPS: 4000}}},
		{want: "gp2 does not support ThroughputMiB", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{ThroughputMiB: 300}}},
		{want: "io2 needs IOPS", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Type: "io2"}}, always: true},
		{want: `unknown Type "fast"`, device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Type: "fast"}}, always: true},
		{want: "InitializationMiB 400 is not between 100 and 300", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{InitializationMiB: 400}}, always: true},
		{want: "Snapshot and Encrypted of the instance's volumes are set in Builder.BlockDevices", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Encrypted: ec2.Disabled}}},
		{want: "Snapshot and Encrypted of the instance's volumes are set in Builder.BlockDevices", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Snapshot: "snap-1"}}},
		{want: "KMSKey cannot be set for an AMI's device", device: ec2.AMIDevice{BlockDevice: ec2.BlockDevice{KMSKey: "alias/images"}}, always: true},
	} {
		d.fromSnapshots = true
		all = append(all, d)
	}
	if device != "" {
		ephemeral := invalidDevice{want: "Ephemeral needs another Device", device: ec2.AMIDevice{Ephemeral: "ephemeral0"}}
		all = append(all, ephemeral)
		ephemeral.fromSnapshots = true
		all = append(all, ephemeral)
	}
	for i := range all {
		all[i].device.Device = device
	}
	return all
}

// TestValidateAMIDevices validates devices of volumes that the Builder declares.
func TestValidateAMIDevices(t *testing.T) {
	cloud := newCloud(newServer(t, nil))
	validate := func(c ec2.Capture) error {
		img := captured(cloud, c)
		configure(img, func(b *ec2.Builder) {
			b.BlockDevices = []ec2.BlockDevice{{SizeGiB: 8, Type: "gp2"}, {Device: "/dev/sdg", SizeGiB: 8, Type: "gp2"}}
		})
		return bake.Validate(nil, img)
	}
	for _, device := range []string{"", "/dev/sdg"} {
		for _, test := range invalidDevices(device) {
			err := validate(ec2.Capture{FromSnapshots: test.fromSnapshots, Devices: []ec2.AMIDevice{test.device}})
			wantError(t, "Validate", err, "Builder.Capture.Devices["+device+"]: ", test.want)
		}
	}
	sdf := ec2.BlockDevice{Device: "/dev/sdf", SizeGiB: 1}
	with := func(change func(*ec2.BlockDevice)) []ec2.AMIDevice {
		d := sdf
		change(&d)
		return []ec2.AMIDevice{{BlockDevice: d}}
	}
	for want, devices := range map[string][]ec2.AMIDevice{
		"[]: the root device cannot be omitted":                            {{Omit: true}},
		"[/dev/sdf]: only one of Omit, Ephemeral and a volume can be set":  {{BlockDevice: sdf, Omit: true}},
		"[/dev/sdf]: only one of Omit, Ephemeral and a volume can be set|": {{BlockDevice: sdf, Ephemeral: "ephemeral0"}},
		"[/dev/sdf]: BlockDevice.Omit cannot be set":                       {{BlockDevice: ec2.BlockDevice{Device: "/dev/sdf", Omit: true}}},
		"[/dev/sdf]: is given twice":                                       {{BlockDevice: sdf}, {BlockDevice: sdf}},
		"[/dev/sdf]: Encrypted cannot be set together with Snapshot":       with(func(d *ec2.BlockDevice) { d.Snapshot, d.Encrypted = "snap-1", ec2.Disabled }),
		"[/dev/sdf]: KMSKey cannot be set for an AMI's device":             with(func(d *ec2.BlockDevice) { d.KMSKey = "alias/images" }),
		"[/dev/sdf]: InitializationMiB needs FromSnapshots":                with(func(d *ec2.BlockDevice) { d.Snapshot, d.InitializationMiB = "snap-1", 200 }),
		"[/dev/sdf]: SizeGiB 70000 is not between 0 and 65536":             with(func(d *ec2.BlockDevice) { d.SizeGiB = 70000 }),
		"[/dev/sdf]: Type gp2 does not support IOPS":                       with(func(d *ec2.BlockDevice) { d.Type, d.IOPS = "gp2", 4000 }),
	} {
		want, _, _ := strings.Cut(want, "|")
		err := validate(ec2.Capture{Devices: devices})
		wantError(t, "Validate", err, "Builder.Capture.Devices"+want)
	}
}

// TestAMIDevicesOfSource uses volumes that only the source image has. Errors are
// found with the source, by Plan and Bake, before anything is created.
func TestAMIDevicesOfSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, &ec2test.Options{})
		cloud := newCloud(server)
		base := simple(cloud)
		base.Name = "base"
		configure(base, func(b *ec2.Builder) {
			b.BlockDevices = []ec2.BlockDevice{{Type: "gp2"}, {Device: "/dev/sdg", SizeGiB: 8, Type: "gp2"}, {Device: "/dev/sdj", SizeGiB: 8, Type: "io2", IOPS: 1000}}
		})
		results, err := bake.Bake(t.Context(), nil, base)
		if err != nil {
			t.Fatal(err)
		}
		source := ec2.ImageID(results[0].Artifact.ID())
		layer := func(c ec2.Capture, devices ...ec2.BlockDevice) *bake.Image {
			img := captured(cloud, c)
			img.Builder = ec2.Builder{Cloud: cloud, Source: source, BlockDevices: devices, Capture: c}
			return img
		}

		before := len(server.Calls())
		refused := func(img *bake.Image, device, want string) {
			t.Helper()
			_, planErr := ec2.Plan(t.Context(), img)
			_, bakeErr := bake.Bake(t.Context(), nil, img)
			wantError(t, "Plan", planErr, "check source image: Builder.Capture.Devices["+device+"]: ", want)
			wantError(t, "Bake", bakeErr, "check source image: Builder.Capture.Devices["+device+"]: ", want)
		}
		for _, device := range []string{"/dev/sda1", "/dev/sdg"} {
			for _, test := range invalidDevices(device) {
				if !test.always { // TestValidateAMIDevices covers the others
					refused(layer(ec2.Capture{FromSnapshots: test.fromSnapshots, Devices: []ec2.AMIDevice{test.device}}), device, test.want)
				}
			}
		}
		sda1 := ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Device: "/dev/sda1", SizeGiB: 20}}
		refused(layer(ec2.Capture{Devices: []ec2.AMIDevice{sda1}}), "/dev/sda1", "CreateImage can change only KeepOnTermination")
		refused(layer(ec2.Capture{FromSnapshots: true, Devices: []ec2.AMIDevice{{}, sda1}}), "/dev/sda1", "/dev/sda1 is given twice: it is the root device of ami-")
		refused(layer(ec2.Capture{Devices: []ec2.AMIDevice{{BlockDevice: ec2.BlockDevice{Device: "/dev/sda1"}, Omit: true}}}), "/dev/sda1", "the root device cannot be omitted")
		sdh := ec2.BlockDevice{Device: "/dev/sdh", KeepOnTermination: true}
		refused(layer(ec2.Capture{Devices: []ec2.AMIDevice{{BlockDevice: sdh}}}), "/dev/sdh", "an additional volume needs SizeGiB or Snapshot")
		sdh.SizeGiB, sdh.InitializationMiB = 3, 200
		refused(layer(ec2.Capture{FromSnapshots: true, Devices: []ec2.AMIDevice{{BlockDevice: sdh}}}), "/dev/sdh", "InitializationMiB needs Snapshot")
		// The instance's root is larger than the source's, or has another type.
		sda1.SizeGiB = 25
		refused(layer(ec2.Capture{FromSnapshots: true, Devices: []ec2.AMIDevice{sda1}}, ec2.BlockDevice{SizeGiB: 30}), "/dev/sda1", "SizeGiB 25 is less than the instance's volume, 30")
		sda1.SizeGiB = 7
		refused(layer(ec2.Capture{FromSnapshots: true, Devices: []ec2.AMIDevice{sda1}}, ec2.BlockDevice{Type: "gp3"}), "/dev/sda1", "SizeGiB 7 is less than the instance's volume, 8")
		for _, call := range server.Calls()[before:] {
			if (strings.HasPrefix(call.Action, "Create") || call.Action == "RunInstances") && call.Code != "DryRunOperation" {
				t.Errorf("%s was called, want no call that creates anything", call.Action)
			}
		}

		sda1.SizeGiB = 25
		keep := func(device string) ec2.AMIDevice {
			return ec2.AMIDevice{BlockDevice: ec2.BlockDevice{Device: device, KeepOnTermination: true}}
		}
		for _, test := range []struct {
			img  *bake.Image
			want map[string]string
		}{
			{
				layer(ec2.Capture{Devices: []ec2.AMIDevice{keep("/dev/sda1"), keep("/dev/sdj")}}),
				map[string]string{"/dev/sda1": "8 gp2 kept", "/dev/sdg": "8 gp2", "/dev/sdj": "8 io2 1000 kept"},
			},
			{
				layer(ec2.Capture{FromSnapshots: true, Devices: []ec2.AMIDevice{sda1, {BlockDevice: ec2.BlockDevice{Device: "/dev/sdj", SizeGiB: 9}}}}),
				map[string]string{"/dev/sda1": "25 gp2", "/dev/sdg": "8 gp2", "/dev/sdj": "9 io2 1000"},
			},
			{ // a new volume replaces the source's
				layer(ec2.Capture{Devices: []ec2.AMIDevice{{BlockDevice: ec2.BlockDevice{Device: "/dev/sdg", SizeGiB: 3}}}}, ec2.BlockDevice{Device: "/dev/sdg", Omit: true}),
				map[string]string{"/dev/sda1": "8 gp2", "/dev/sdg": "3 gp3 empty", "/dev/sdj": "8 io2 1000"},
			},
		} {
			results, err := bake.Bake(t.Context(), nil, test.img)
			if err != nil {
				t.Error(err)
				continue
			}
			if diff := cmp.Diff(test.want, devicesOf(t, cloud, results[0].Artifact.ID())); diff != "" {
				t.Errorf("devices (-want +got):\n%s", diff)
			}
		}
	})
}

// TestSourceVolumesUnchanged checks that a launch does not mention volumes that
// are deleted with the instance anyway.
func TestSourceVolumesUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		results, err := bake.Bake(t.Context(), nil, simple(newCloud(server)))
		if err != nil {
			t.Fatal(err)
		}
		want := []ec2.SourceVolume{{Device: "/dev/sda1", SizeGiB: 8, Type: "gp3"}}
		volumes := amiOf(t, results[0]).Source.Volumes
		volumes[0].Snapshot = ""
		if diff := cmp.Diff(want, volumes); diff != "" {
			t.Errorf("Source.Volumes (-want +got):\n%s", diff)
		}
		for _, call := range server.Calls() {
			if got := call.Params.Get("BlockDeviceMapping.1.DeviceName"); got != "" {
				t.Errorf("%s has a mapping of %s, want none", call.Action, got)
			}
		}
	})
}

// TestAMIDevicesOfSurrogate checks that devices have the AMI's names. A volume of
// the helper with the same name is another one.
func TestAMIDevicesOfSurrogate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := surrogateServer(t)
		cloud := newCloud(server)
		img, b := surrogate(t, cloud)
		b.Capture.Devices = []ec2.AMIDevice{
			{BlockDevice: ec2.BlockDevice{SizeGiB: 12}},
			{BlockDevice: ec2.BlockDevice{Device: "/dev/sda1", SizeGiB: 3}}, // the helper's has 20 GiB
			{BlockDevice: ec2.BlockDevice{Device: "/dev/sdg", KeepOnTermination: true}},
		}
		img.Builder = b
		results, err := bake.Bake(t.Context(), nil, img)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"/dev/xvda": "12 gp3 3000/125", "/dev/sda1": "3 gp3 empty", "/dev/sdg": "3 gp2 kept"}
		if diff := cmp.Diff(want, devicesOf(t, cloud, results[0].Artifact.ID())); diff != "" {
			t.Errorf("devices (-want +got):\n%s", diff)
		}
		for device, want := range map[string]string{
			"":          "Devices[]: SizeGiB 8 is less than the instance's volume, 9",
			"/dev/xvda": "Devices[/dev/xvda]: SizeGiB 8 is less than the instance's volume, 9",
		} {
			b.Capture.Devices = []ec2.AMIDevice{{BlockDevice: ec2.BlockDevice{Device: device, SizeGiB: 8}}}
			img.Builder = b
			_, err = ec2.Plan(t.Context(), img)
			wantError(t, "Plan", err, want)
		}
	})
}

// TestReplaceAMIKeepsInitializationRate checks the rate when the AMI is registered
// again under its final name, although EC2 does not report it.
func TestReplaceAMIKeepsInitializationRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t, nil)
		img := captured(newCloud(server), ec2.Capture{FromSnapshots: true, Devices: []ec2.AMIDevice{{BlockDevice: ec2.BlockDevice{InitializationMiB: 200}}}})
		configure(img, func(b *ec2.Builder) {
			b.AMIName, b.ReplaceAMI, b.Distribute.Copies = "web", true, ec2.CopyTo("us-west-2")
		})
		if _, err := bake.Bake(t.Context(), nil, img); err != nil {
			t.Fatal(err)
		}
		var rates []string
		for _, call := range callsOf(server.Calls(), "RegisterImage") {
			rates = append(rates, call.Region+" "+call.Params.Get("BlockDeviceMapping.1.Ebs.VolumeInitializationRate"))
		}
		slices.Sort(rates)
		if diff := cmp.Diff([]string{testRegion + " 200", testRegion + " 200", "us-west-2 200"}, rates); diff != "" {
			t.Errorf("rates (-want +got):\n%s", diff)
		}
	})
}
