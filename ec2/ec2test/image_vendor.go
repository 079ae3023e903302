package ec2test

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Accounts of the vendors whose images every server has.
const (
	Canonical = "099720109477" // Ubuntu; its alias is "amazon"
	Amazon    = "137112412989" // Amazon Linux; its alias is "amazon"
	Debian    = "136693071363" // Debian; its alias is "amazon"
)

// An Image describes a public image of a vendor, or an image given to
// [Server.Publish]. It has one volume. Apart from Name, all fields are
// optional.
type Image struct {
	// ID is the image's id in all its regions. If empty, it is derived from the
	// region, the owner and the name, so it is the same in every server.
	ID string

	// Name is the image's name, which must be unique for the owner.
	Name string

	// Owner is the owning account. Empty means Options.Account.
	Owner string

	// OwnerAlias is the alias that DescribeImages reports, such as "amazon".
	OwnerAlias string

	// Description is the image's description.
	Description string

	// Architecture is "x86_64" or "arm64". Empty means "x86_64".
	Architecture string

	// Created is the creation date. Zero means a fixed day in 2026 for
	// Options.Images, and now for Publish.
	Created time.Time

	// Deprecated is the deprecation date. Zero means never.
	Deprecated time.Time

	// Private makes the image usable by its owner only. By default it is
	// public.
	Private bool

	// Regions are the regions the image is in. Empty means all.
	Regions []string

	// Distro and Version identify the operating system in /etc/os-release:
	// "ubuntu", "24.04". Empty means Ubuntu 24.04.
	Distro  string
	Version string

	// Kernel is the kernel release, as uname -r prints it. Empty means a
	// typical one for the distribution.
	Kernel string

	// Login is the user to log in as. Empty means the distribution's default
	// user.
	Login string

	// RootDevice is the device name of the root volume. Empty means
	// "/dev/sda1".
	RootDevice string

	// SizeGiB is the size of the root volume in GiB. Zero means 8.
	SizeGiB int

	// Files are additional files on the root volume: contents by absolute path.
	Files map[string]string

	// Platform is the value of PlatformDetails, which stands for the licensed
	// software: "Red Hat Enterprise Linux". Empty means "Linux/UNIX".
	Platform string

	// IMDSv1 leaves out the image's requirement of IMDSv2.
	IMDSv1 bool

	// Tags are the image's tags. Only the owner sees them.
	Tags map[string]string

	// Parameters are the names of public SSM parameters to set to the image's
	// id.
	Parameters []string
}

// machine returns the hardware name that uname -m prints.
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

// vendorImages returns the images that every server has. Only the last one is
// deprecated, so that tests do not depend on the date.
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
			Owner: Canonical, OwnerAlias: "amazon", Description: "Canonical, Ubuntu, " + version + ", " + short + " " + series + " image",
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
			Name: "debian-13-" + short + "-20261019-2270", Owner: Debian, OwnerAlias: "amazon", Description: "Debian 13 (20261019-2270)",
			Architecture: arch, Created: day(2026, time.October, 19), Distro: "debian", Version: "13", Login: "admin",
			RootDevice: "/dev/xvda", SizeGiB: 8,
		})
	}
	// This one is long deprecated, so listings omit it by default.
	ubuntu("focal", "20.04", "x86_64", day(2023, time.February, 2), false)
	out[len(out)-1].Deprecated = day(2025, time.February, 2)
	return out
}

// addVendors adds the vendors' images to a new region.
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

// publish adds an image with its snapshot and parameters to the region and
// returns its id, or "" if the image does not belong in this region.
func (r *region) publish(img Image, vendor bool) string {
	if !img.in(r.name) {
		return ""
	}
	if img.Owner == "" {
		img.Owner = r.server.opts.Account
	}
	img.Architecture = cmp.Or(img.Architecture, "x86_64")
	img.RootDevice = cmp.Or(img.RootDevice, "/dev/sda1")
	if img.SizeGiB == 0 {
		img.SizeGiB = 8
	}
	begin := func(prefix string) base {
		id := namedID(prefix, r.name, img.Owner, img.Name)
		if img.ID != "" {
			id = prefix + strings.TrimPrefix(img.ID, "ami-")
		}
		return base{
			id: id, seq: r.server.nextSeq(),
			owner: img.Owner, created: img.Created,
		}
	}
	snap := &snapshot{
		base: begin("snap-"), volume: "vol-ffffffff", sizeGiB: img.SizeGiB,
		vendor: true, vendorImage: img, lineage: namedID("snap-", r.name, img.Owner, img.Name), shares: permissions{all: !img.Private},
	}
	r.snapshots.put(snap)
	yes, no, size := true, false, img.SizeGiB
	made := &image{
		base: begin("ami-"), alias: img.OwnerAlias, name: img.Name, description: img.Description, arch: img.Architecture,
		virtualization: "hvm", bootMode: "uefi-preferred", imds: "v2.0", ena: true, sriov: "simple", rootDevice: img.RootDevice,
		platform: cmp.Or(img.Platform, "Linux/UNIX"), usage: "RunInstances", deprecateAt: img.Deprecated,
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
		_, _ = r.server.params.put(img.Owner, r.name, parameter{name: name, value: made.id, kind: "String", dataType: imageDataType}, nil, img.Created) // the first version always has room
	}
	return made.id
}

// Publish adds an image to its regions as a vendor would, and returns its ids
// by region.
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
