package ec2test

import (
	"cmp"
	"context"
	"fmt"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

type createImageInput struct {
	InstanceID         string `ec2:"InstanceId,required"`
	Name               string `ec2:"Name,required"`
	Description        string
	NoReboot           bool
	BlockDeviceMapping []mapping
	BootModeOverride   string `ec2:"BootModeOverride,oneof=uefi"`
	TagSpecification   []tagSpecification
}

type imageIDOutput struct {
	ImageID string `xml:"imageId"`
}

func (c *call) createImage(in *createImageInput) (*imageIDOutput, *ec2query.Error) {
	inst, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	if code := inst.phase.code(c.now); code != running && code != stopped {
		return nil, ec2query.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which an image can be created: %s", inst.id, code)
	}
	if err := c.checkImageName(in.Name, in.Description); err != nil {
		return nil, err
	}
	if in.BootModeOverride != "" && inst.bootMode == "legacy-bios" {
		return nil, ec2query.InvalidCombination("The boot mode %s does not fit the instance's, which is %s.", in.BootModeOverride, inst.bootMode)
	}
	specs, err := tagSpecs(in.TagSpecification, "image", "snapshot")
	if err != nil {
		return nil, err
	}
	wanted, err := inst.checkCreateImage(in.BlockDeviceMapping)
	if err != nil {
		return nil, err
	}
	mappings, err := merge(inst.mappings(), wanted)
	if err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}

	img := &image{
		base: c.newBase(imageKind(), specs["image"]), name: in.Name, description: in.Description,
		arch: inst.arch, virtualization: "hvm", bootMode: cmp.Or(in.BootModeOverride, inst.bootMode), imds: inst.image.imds, tpm: inst.image.tpm,
		ena: inst.ena, sriov: inst.sriov, rootDevice: inst.rootDevice,
		platform: inst.image.platform, usage: inst.image.usage,
		sourceInstance: inst.id, sourceImage: inst.image.id, sourceRegion: c.name,
	}
	type pair struct {
		volume   *volume
		snapshot *snapshot
	}
	var taken []pair
	for n, m := range mappings {
		v := inst.volumeAt(m.Device)
		if m.EBS == nil || v == nil {
			continue
		}
		snap := c.takeSnapshot(v, fmt.Sprintf("Created by CreateImage(%s) for %s", inst.id, img.id), specs["snapshot"].clone())
		taken = append(taken, pair{v, snap})
		ebs := *m.EBS
		ebs.SnapshotID = snap.id
		ebs.VolumeInitializationRate = nil
		mappings[n].EBS = &ebs
	}
	img.mappings = mappings
	img.doneAt = c.now.Add(c.server.opts.Latency.image(inst.sizeGiB()))
	c.addImage(img)

	reboot := inst.phase.code(c.now) == running && !in.NoReboot
	copyDisks := func(ctx context.Context) *ec2query.Error {
		for _, p := range taken {
			if err := p.snapshot.disk.copyFrom(ctx, p.volume.disk); err != nil {
				return ec2query.Internal(err)
			}
		}
		return nil
	}
	if reboot {
		c.powerCycle(inst, copyDisks)
	} else {
		c.afterwards(copyDisks)
	}
	return &imageIDOutput{img.id}, nil
}

type registerImageInput struct {
	Name               string `ec2:"Name,required"`
	Description        string
	Architecture       string `ec2:"Architecture,oneof=i386|x86_64|arm64|x86_64_mac|arm64_mac"`
	VirtualizationType string `ec2:"VirtualizationType,oneof=hvm|paravirtual"`
	RootDeviceName     string
	BlockDeviceMapping []mapping
	EnaSupport         bool
	SriovNetSupport    string
	BootMode           string `ec2:"BootMode,oneof=legacy-bios|uefi|uefi-preferred"`
	ImdsSupport        string `ec2:"ImdsSupport,oneof=v2.0"`
	TpmSupport         string `ec2:"TpmSupport,oneof=v2.0"`
	UefiData           []byte
	TagSpecification   []tagSpecification
}

func (c *call) registerImage(in *registerImageInput) (*imageIDOutput, *ec2query.Error) {
	if err := c.checkImageName(in.Name, in.Description); err != nil {
		return nil, err
	}
	specs, err := tagSpecs(in.TagSpecification, "image")
	if err != nil {
		return nil, err
	}
	switch {
	case in.RootDeviceName == "":
		return nil, ec2query.MissingParameter("RootDeviceName")
	case in.TpmSupport != "" && in.BootMode != "uefi":
		return nil, ec2query.InvalidCombination("The parameter TpmSupport requires the boot mode uefi.")
	case in.Architecture == "arm64" && in.BootMode == "legacy-bios":
		return nil, ec2query.InvalidCombination("The boot mode legacy-bios is not supported for the architecture arm64.")
	}
	mappings, err := merge(nil, in.BlockDeviceMapping)
	if err != nil {
		return nil, err
	}
	hasRoot := false
	for n, m := range mappings {
		if m.EBS == nil {
			continue
		}
		if err := m.checkForImage(); err != nil {
			return nil, err
		}
		plan, err := c.planVolume(m, nil)
		if err != nil {
			return nil, err
		}
		root := m.Device == in.RootDeviceName
		if root && plan.snapshot == nil {
			return nil, ec2query.Errorf(badMapping, "The root device '%s' must have a snapshot", m.Device)
		}
		hasRoot = hasRoot || root
		mappings[n].EBS = c.registeredEBS(*m.EBS, plan, root)
	}
	if !hasRoot {
		return nil, ec2query.Errorf(badMapping, "There is no block device mapping for the root device '%s'", in.RootDeviceName)
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	img := &image{
		base: c.newBase(imageKind(), specs["image"]), name: in.Name, description: in.Description,
		arch: cmp.Or(in.Architecture, "i386"), virtualization: cmp.Or(in.VirtualizationType, "paravirtual"),
		bootMode: in.BootMode, imds: in.ImdsSupport, tpm: in.TpmSupport, ena: in.EnaSupport, sriov: in.SriovNetSupport,
		rootDevice: in.RootDeviceName, mappings: mappings, platform: "Linux/UNIX", usage: "RunInstances", doneAt: c.now,
	}
	c.addImage(img)
	return &imageIDOutput{img.id}, nil
}

// registeredEBS returns the EBS part of an image's mapping with all defaults
// filled in.
func (c *call) registeredEBS(ebs ebsParams, plan *volumePlan, root bool) *ebsParams {
	size, encrypted := plan.volume.sizeGiB, plan.volume.encrypted
	ebs.VolumeSize, ebs.Encrypted = &size, &encrypted
	ebs.VolumeType = plan.volume.kind
	if ebs.DeleteOnTermination == nil {
		ebs.DeleteOnTermination = &root
	}
	return &ebs
}
