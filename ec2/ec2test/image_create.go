package ec2test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

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
	if err := c.checkImageName(in.Name); err != nil {
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
		arch: inst.arch, virtualization: "hvm", bootMode: orText(in.BootModeOverride, inst.bootMode), imds: inst.image.imds, tpm: inst.image.tpm,
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
	if err := c.checkImageName(in.Name); err != nil {
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
		arch: orText(in.Architecture, "i386"), virtualization: orText(in.VirtualizationType, "paravirtual"),
		bootMode: in.BootMode, imds: in.ImdsSupport, tpm: in.TpmSupport, ena: in.EnaSupport, sriov: in.SriovNetSupport,
		rootDevice: in.RootDeviceName, mappings: mappings, platform: "Linux/UNIX", usage: "RunInstances", doneAt: c.now,
	}
	c.addImage(img)
	return &imageIDOutput{img.id}, nil
}

// registered is a mapping with everything filled in that an image says of it.
func (c *call) registeredEBS(ebs ebsParams, plan *volumePlan, root bool) *ebsParams {
	size, encrypted := plan.volume.sizeGiB, plan.volume.encrypted
	ebs.VolumeSize, ebs.Encrypted = &size, &encrypted
	ebs.VolumeType = plan.volume.kind
	if ebs.DeleteOnTermination == nil {
		ebs.DeleteOnTermination = &root
	}
	return &ebs
}

type copyImageInput struct {
	Name                                  string `ec2:"Name,required"`
	SourceImageID                         string `ec2:"SourceImageId,required"`
	SourceRegion                          string `ec2:"SourceRegion,required"`
	ClientToken                           string
	Description                           string
	CopyImageTags                         bool
	Encrypted                             *bool
	KmsKeyID                              string `ec2:"KmsKeyId"`
	SnapshotCopyCompletionDurationMinutes *int
	TagSpecification                      []tagSpecification
}

func (c *call) copyImage(in *copyImageInput) (*imageIDOutput, *ec2query.Error) {
	known, err := c.usedToken(in.ClientToken)
	if err != nil {
		return nil, err
	}
	if len(known) > 0 {
		return &imageIDOutput{known[0]}, nil
	}
	if err := c.checkImageName(in.Name); err != nil {
		return nil, err
	}
	specs, err := tagSpecs(in.TagSpecification, "image", "snapshot")
	if err != nil {
		return nil, err
	}
	if in.KmsKeyID != "" && (in.Encrypted == nil || !*in.Encrypted) {
		return nil, ec2query.Errorf("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	}
	if m := in.SnapshotCopyCompletionDurationMinutes; m != nil && (*m < 15 || *m > 48*60 || *m%15 != 0) {
		return nil, ec2query.InvalidValue("snapshotCopyCompletionDurationMinutes", intText(m), "It must be a multiple of 15 from 15 to 2880.")
	}
	source, snaps, err := c.copyableImage(in.SourceRegion, in.SourceImageID)
	if err != nil {
		return nil, err
	}
	if err := c.checkImageName(in.Name); err != nil { // the region was unlocked meanwhile
		return nil, err
	}
	for _, s := range snaps {
		if err := s.check(in.Encrypted); err != nil {
			return nil, err
		}
	}
	if err := c.copySlots(len(snaps)); err != nil {
		return nil, err
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}

	img := source
	img.base = c.newBase(imageKind(), specs["image"])
	if in.CopyImageTags && source.owner == c.account {
		copied := source.tags.clone()
		maps.Copy(copied, specs["image"])
		img.tags = copied
	}
	img.alias, img.name, img.description = "", in.Name, in.Description
	img.launch = permissions{} // and with it every other state of the source
	img.disabled, img.protected, img.cooldown = false, false, false
	img.deprecateAt, img.protectedUntil, img.lastLaunched = time.Time{}, time.Time{}, time.Time{}
	img.sourceInstance, img.sourceImage, img.sourceRegion = "", source.id, in.SourceRegion
	img.mappings = slices.Clone(source.mappings)
	size := 0
	for n, m := range img.mappings {
		if m.EBS == nil || snaps[m.EBS.SnapshotID] == nil {
			continue
		}
		from := snaps[m.EBS.SnapshotID]
		size += from.sizeGiB
		description := fmt.Sprintf("Copied for DestinationAmi %s from SourceAmi %s for SourceSnapshot %s.", img.id, source.id, from.id)
		snap := c.cloneSnapshot(from, description, specs["snapshot"].clone(), in.Encrypted, in.KmsKeyID)
		ebs := *m.EBS
		ebs.SnapshotID, ebs.Encrypted = snap.id, &snap.encrypted
		img.mappings[n].EBS = &ebs
		if snap.failure != "" { // the code is not documented
			img.failure = &stateReasonXML{"Client.InternalError", "AMI snapshot copy failed with error: " + snap.failure}
		}
	}
	img.doneAt = c.now.Add(c.server.opts.Latency.image(size))
	c.addImage(&img)
	c.rememberToken(in.ClientToken, img.id)
	return &imageIDOutput{img.id}, nil
}

// imageElsewhere is a copy of an image of any region, and its snapshots by id,
// which the caller must be allowed to read.
func (c *call) copyableImage(regionName, id string) (image, map[string]*copySource, *ec2query.Error) {
	var source image
	snaps := make(map[string]*copySource)
	from := c.server.region(regionName)
	if from == nil {
		return source, nil, ec2query.InvalidValue("sourceRegion", regionName, "")
	}
	err := c.lockedIn(from, func(*region) *ec2query.Error {
		there := &call{region: from, account: c.account, now: c.now}
		img, err := there.usableImage(id)
		if err != nil {
			return err
		}
		if state := img.state(c.now); state != "available" {
			return ec2query.Errorf("InvalidAMIID.Unavailable", "The image ID '%s' is not available: %s", id, state)
		}
		source = *img
		for _, m := range img.mappings {
			if m.EBS == nil || m.EBS.SnapshotID == "" {
				continue
			}
			s, ok := from.snapshots.get(m.EBS.SnapshotID)
			if !ok || !there.readable(s) {
				return ec2query.Errorf("InvalidRequest", "You do not have permission to access the storage of this ami")
			}
			storage := there.copySource(s)
			snaps[s.id] = &storage
		}
		return nil
	})
	return source, snaps, err
}
