package ec2test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

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
	if err := c.checkImageName(in.Name, in.Description); err != nil {
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
	if err := c.checkImageName(in.Name, in.Description); err != nil { // the region was unlocked meanwhile
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
	img.launch = permissions{} // a copy starts with default settings
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
		if snap.failure != "" { // the error code is not documented
			img.failure = &stateReasonXML{"Client.InternalError", "AMI snapshot copy failed with error: " + snap.failure}
		}
	}
	img.doneAt = c.now.Add(c.server.opts.Latency.image(size))
	c.addImage(&img)
	c.rememberToken(in.ClientToken, img.id)
	return &imageIDOutput{img.id}, nil
}

// copyableImage returns a copy of an image in any region, and its snapshots by
// id. The caller must be allowed to read them.
func (c *call) copyableImage(regionName, id string) (image, map[string]*copySource, *ec2query.Error) {
	var source image
	snaps := make(map[string]*copySource)
	from := c.server.region(regionName)
	if from == nil {
		return source, nil, ec2query.InvalidValue("sourceRegion", regionName, "")
	}
	err := c.lockedIn(from, func() *ec2query.Error {
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
