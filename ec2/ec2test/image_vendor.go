package ec2test

import (
	"slices"
	"strings"
	"time"
)

// The accounts of the vendors whose images every server has.
const (
	Canonical = "099720109477" // owner of the Ubuntu images
	Amazon    = "137112412989" // owner of the Amazon Linux images; alias "amazon"
	Debian    = "136693071363" // owner of the Debian images
)

// An Image is a vendor's image, or one given to Server.Publish: a root disk of
// one snapshot.
type Image struct {
	// Name is required, and unique for its owner.
	Name string

	// Owner is an account. Empty is the server's Options.Account.
	Owner string

	// OwnerAlias is what DescribeImages shows as such, for example "amazon".
	OwnerAlias string

	// Description is free text.
	Description string

	// Architecture is "x86_64" or "arm64". Empty is "x86_64".
	Architecture string

	// Created is the creation date. Zero is a fixed day in 2026 for vendors'
	// images, and now for published ones.
	Created time.Time

	// Deprecated is when the image becomes deprecated. Zero is never.
	Deprecated time.Time

	// Private keeps the image to its owner; by default everyone may use it.
	Private bool

	// Regions are where it is. Empty is everywhere.
	Regions []string

	// Distro and Version are what /etc/os-release says: "ubuntu", "24.04".
	// Empty is Ubuntu 24.04.
	Distro  string
	Version string

	// Kernel is the release of the kernel. Empty is a usual one.
	Kernel string

	// Login is the user to log in as. Empty is the distribution's usual one.
	Login string

	// RootDevice is the device name of the root volume. Empty is "/dev/sda1".
	RootDevice string

	// SizeGiB is the size of the root volume. Zero is 8.
	SizeGiB int

	// Files are on the disk in addition to what the machine kind puts there.
	Files map[string]string

	// Platform is its platform details, which stand for what AWS charges for its
	// software: "Red Hat Enterprise Linux". Empty is "Linux/UNIX", which is free.
	Platform string

	// IMDSv1 makes an image that does not ask for IMDSv2.
	IMDSv1 bool

	// Tags are the image's tags, which only its owner sees.
	Tags map[string]string

	// Parameters are names of public SSM parameters that hold the image's id.
	Parameters []string
}

// machine is the hardware name that uname gives.
func (i Image) machine() string {
	if i.Architecture == "arm64" {
		return "aarch64"
	}
	return "x86_64"
}

func (i Image) created() time.Time { return i.Created }

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 4, 25, 17, 0, time.UTC)
}

// vendorImages are the images that every server has. Only the last is ever
// deprecated, so that tests do not depend on the day they run.
func vendorImages() []Image {
	var out []Image
	ubuntu := func(series, version, arch string, at time.Time, newest bool) {
		store := "ubuntu/images/hvm-ssd/"
		if series == "noble" {
			store = "ubuntu/images/hvm-ssd-gp3/"
		}
		short := map[string]string{"x86_64": "amd64", "arm64": "arm64"}[arch]
		img := Image{
			Name:  store + "ubuntu-" + series + "-" + version + "-" + short + "-server-" + at.Format("20060102"),
			Owner: Canonical, Description: "Canonical, Ubuntu, " + version + ", " + short + " " + series + " image",
			Architecture: arch, Created: at,
			Distro: "ubuntu", Version: version, Login: "ubuntu", RootDevice: "/dev/sda1", SizeGiB: 8,
		}
		if newest {
			volume := "ebs-gp2"
			if series == "noble" {
				volume = "ebs-gp3"
			}
			for _, which := range []string{version, series} {
				img.Parameters = append(img.Parameters, "/aws/service/canonical/ubuntu/server/"+which+"/stable/current/"+short+"/hvm/"+volume+"/ami-id")
			}
		}
		out = append(out, img)
	}
	amazon := func(kernel, arch string, at time.Time, newest bool) {
		img := Image{
			Name:  "al2023-ami-2023." + at.Format("1.20060102") + ".0-kernel-" + kernel + "-" + arch,
			Owner: Amazon, OwnerAlias: "amazon", Description: "Amazon Linux 2023 AMI 2023 " + arch + " HVM kernel-" + kernel,
			Architecture: arch, Created: at,
			Distro: "amzn", Version: "2023", Kernel: kernel + ".150-170.amzn2023." + arch, Login: "ec2-user",
			RootDevice: "/dev/xvda", SizeGiB: 8,
		}
		if newest {
			for _, which := range []string{"default", kernel} {
				img.Parameters = append(img.Parameters, "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-"+which+"-"+arch)
			}
		}
		out = append(out, img)
	}
	for _, arch := range []string{"x86_64", "arm64"} {
		ubuntu("jammy", "22.04", arch, day(2026, time.May, 14), false)
		ubuntu("jammy", "22.04", arch, day(2026, time.October, 9), true)
		ubuntu("noble", "24.04", arch, day(2026, time.March, 5), false)
		ubuntu("noble", "24.04", arch, day(2026, time.August, 21), false)
		ubuntu("noble", "24.04", arch, day(2026, time.November, 4), true)
		amazon("6.1", arch, day(2026, time.September, 15), false)
		amazon("6.1", arch, day(2026, time.November, 10), true)
		short := map[string]string{"x86_64": "amd64", "arm64": "arm64"}[arch]
		out = append(out, Image{
			Name: "debian-13-" + short + "-20261019-2270", Owner: Debian, Description: "Debian 13 (20261019-2270)",
			Architecture: arch, Created: day(2026, time.October, 19), Distro: "debian", Version: "13", Login: "admin",
			RootDevice: "/dev/xvda", SizeGiB: 8,
		})
	}
	// One that is long past its deprecation, which listings leave out.
	ubuntu("focal", "20.04", "x86_64", day(2023, time.February, 2), false)
	out[len(out)-1].Deprecated = day(2025, time.February, 2)
	return out
}

// addVendors gives a new region the vendors' images.
func (r *region) addVendors() {
	for _, img := range append(vendorImages(), r.server.opts.Images...) {
		if img.Created.IsZero() {
			img.Created = day(2026, time.November, 1)
		}
		r.publish(img, true)
	}
}

func (i Image) in(region string) bool {
	return len(i.Regions) == 0 || slices.Contains(i.Regions, region)
}

// publish adds an image with its snapshot and parameters; empty when the image
// is not for this region.
func (r *region) publish(img Image, vendor bool) string {
	if !img.in(r.name) {
		return ""
	}
	if img.Owner == "" {
		img.Owner = r.server.opts.Account
	}
	img.Architecture = orText(img.Architecture, "x86_64")
	img.RootDevice = orText(img.RootDevice, "/dev/sda1")
	if img.SizeGiB == 0 {
		img.SizeGiB = 8
	}
	begin := func(prefix string) base {
		return base{
			id: namedID(prefix, r.name, img.Owner, img.Name), seq: r.server.nextSeq(),
			owner: img.Owner, created: img.Created,
		}
	}
	snap := &snapshot{
		base: begin("snap-"), volume: "vol-ffffffff", sizeGiB: img.SizeGiB,
		vendor: true, vendorImage: img, shares: permissions{all: !img.Private},
	}
	r.snapshots.put(snap)
	yes, no, size := true, false, img.SizeGiB
	made := &image{
		base: begin("ami-"), alias: img.OwnerAlias, name: img.Name, description: img.Description, arch: img.Architecture,
		virtualization: "hvm", bootMode: "uefi-preferred", imds: "v2.0", ena: true, sriov: "simple", rootDevice: img.RootDevice,
		platform: orText(img.Platform, "Linux/UNIX"), usage: "RunInstances", deprecateAt: img.Deprecated,
		launch: permissions{all: !img.Private},
		mappings: []mapping{{Device: img.RootDevice, EBS: &ebsParams{
			SnapshotID: snap.id, VolumeSize: &size, VolumeType: "gp3", DeleteOnTermination: &yes, Encrypted: &no,
		}}},
	}
	if img.Architecture == "arm64" {
		made.bootMode = "uefi"
	}
	if img.IMDSv1 {
		made.imds = ""
	}
	made.tags = make(tags, len(img.Tags))
	for key, value := range img.Tags {
		made.tags[key] = tagValue{value: value}
	}
	if strings.HasSuffix(img.RootDevice, "sda1") && vendor {
		for i, device := range []string{"/dev/sdb", "/dev/sdc"} {
			made.mappings = append(made.mappings, mapping{Device: device, Virtual: "ephemeral" + string('0'+rune(i))})
		}
	}
	r.addImage(made)
	for _, name := range img.Parameters {
		r.server.params.put(img.Owner, r.name, name, parameter{value: made.id, kind: "String", dataType: imageDataType}, img.Created)
	}
	return made.id
}

// Publish adds an image to every region where it belongs, as a vendor would,
// and returns its ids by region.
func (s *Server) Publish(img Image) map[string]string {
	if img.Created.IsZero() {
		img.Created = s.now()
	}
	ids := make(map[string]string)
	for _, name := range s.opts.Regions {
		r := s.region(name)
		if r == nil || !img.in(name) {
			continue
		}
		r.mu.Lock()
		ids[name] = r.publish(img, false)
		r.mu.Unlock()
	}
	return ids
}
