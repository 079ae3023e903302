package ec2test

import (
	"cmp"
	"context"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// mapping is a block device mapping of a request or an image.
type mapping struct {
	Device   string     `ec2:"DeviceName"`
	EBS      *ebsParams `ec2:"Ebs"`
	NoDevice *string
	Virtual  string `ec2:"VirtualName"`
}

const badMapping = "InvalidBlockDeviceMapping"

type mappingXML struct {
	Device   string  `xml:"deviceName"`
	EBS      *ebsXML `xml:"ebs,omitempty"`
	NoDevice *string `xml:"noDevice,omitempty"`
	Virtual  string  `xml:"virtualName,omitempty"`
}

type ebsXML struct {
	Snapshot            string `xml:"snapshotId,omitempty"`
	Size                *int   `xml:"volumeSize,omitempty"`
	DeleteOnTermination *bool  `xml:"deleteOnTermination,omitempty"`
	Type                string `xml:"volumeType,omitempty"`
	IOPS                *int   `xml:"iops,omitempty"`
	Throughput          *int   `xml:"throughput,omitempty"`
	Encrypted           *bool  `xml:"encrypted,omitempty"`
	KMSKey              string `xml:"kmsKeyId,omitempty"`
}

func (m mapping) xml() mappingXML {
	out := mappingXML{Device: m.Device, NoDevice: m.NoDevice, Virtual: m.Virtual}
	if m.EBS != nil {
		out.EBS = &ebsXML{
			m.EBS.SnapshotID, m.EBS.VolumeSize, m.EBS.DeleteOnTermination, m.EBS.VolumeType,
			m.EBS.Iops, m.EBS.Throughput, m.EBS.Encrypted, m.EBS.KmsKeyID,
		}
	}
	return out
}

// merge returns an image's mappings overridden by those of a request. For a
// device in both, options missing in the request keep the image's value;
// NoDevice removes it.
func merge(ofImage, ofRequest []mapping) ([]mapping, *ec2query.Error) {
	out := slices.Clone(ofImage)
	seen := make(map[string]bool, len(ofRequest))
	for _, m := range ofRequest {
		switch {
		case m.Device == "":
			return nil, ec2query.MissingParameter("BlockDeviceMapping.DeviceName")
		case seen[m.Device]:
			return nil, ec2query.Errorf(badMapping, "The device '%s' is used in more than one block-device mapping", m.Device)
		case m.EBS == nil && m.NoDevice == nil && m.Virtual == "":
			return nil, ec2query.Errorf(badMapping, "Missing EBS, NoDevice or VirtualName of device '%s'", m.Device)
		}
		seen[m.Device] = true
		at := slices.IndexFunc(out, func(have mapping) bool { return have.Device == m.Device })
		switch {
		case m.NoDevice != nil:
			if at >= 0 {
				out = slices.Delete(out, at, at+1)
			}
		case at < 0:
			out = append(out, m)
		case m.EBS == nil || out[at].EBS == nil:
			out[at] = m
		default:
			merged, err := overlay(*out[at].EBS, *m.EBS, m.Device)
			if err != nil {
				return nil, err
			}
			out[at].EBS = &merged
		}
	}
	return out, nil
}

func overlay(under, over ebsParams, device string) (ebsParams, *ec2query.Error) {
	if over.SnapshotID != "" && over.SnapshotID != under.SnapshotID {
		return under, ec2query.Errorf(badMapping, "snapshotId cannot be modified on the device '%s' of the image", device)
	}
	if over.VolumeType != "" && over.VolumeType != under.VolumeType {
		under.VolumeType, under.Iops, under.Throughput = over.VolumeType, nil, nil
	}
	setIf(&under.VolumeSize, over.VolumeSize)
	setIf(&under.Iops, over.Iops)
	setIf(&under.Throughput, over.Throughput)
	setIf(&under.Encrypted, over.Encrypted)
	setIf(&under.DeleteOnTermination, over.DeleteOnTermination)
	setIf(&under.VolumeInitializationRate, over.VolumeInitializationRate)
	under.KmsKeyID = cmp.Or(over.KmsKeyID, under.KmsKeyID)
	return under, nil
}

func setIf[T any](to **T, from *T) {
	if from != nil {
		*to = from
	}
}

// volumePlan is a validated volume.
type volumePlan struct {
	device    string
	volume    volume
	snapshot  *snapshot // nil for a blank volume
	keyStatus keyStatus // if not usable, an instance with the volume does not start
}

// planVolume validates a mapping and returns its volume. If img is not nil, its
// snapshots may be used by anyone who may launch it.
func (c *call) planVolume(m mapping, img *image) (*volumePlan, *ec2query.Error) {
	p := *m.EBS
	if err := p.check(); err != nil {
		return nil, err
	}
	plan := &volumePlan{device: m.Device, volume: volume{kind: cmp.Or(p.VolumeType, "gp2"), snapshot: p.SnapshotID}}
	v := &plan.volume
	encrypted, key, source := truthOf(p.Encrypted), p.KmsKeyID, keyUsable
	switch {
	case p.SnapshotID != "":
		snap, ok := c.snapshots.get(p.SnapshotID)
		if !ok || img == nil || !img.uses(p.SnapshotID) {
			var err *ec2query.Error
			if snap, err = c.readableSnapshot(p.SnapshotID); err != nil {
				return nil, err
			}
		}
		if !snap.completed(c.now) {
			return nil, ec2query.Errorf("IncorrectState", "Snapshot is in invalid state - %s: %s", snap.status(c.now), snap.id)
		}
		plan.snapshot = snap
		v.sizeGiB = snap.sizeGiB
		encrypted, source = encrypted || snap.encrypted, c.statusOfKey(snap.kmsKey)
		if c.owns(&snap.base) { // a snapshot shared by another account gets a key of the caller's own
			key = cmp.Or(key, snap.kmsKey)
		}
		if p.VolumeSize != nil && *p.VolumeSize < snap.sizeGiB {
			return nil, ec2query.Errorf(badMapping, "Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB",
				*p.VolumeSize, snap.id, snap.sizeGiB)
		}
		if snap.encrypted && p.Encrypted != nil && !*p.Encrypted {
			return nil, ec2query.Errorf("InvalidParameterValue", "The parameter Encrypted cannot be false for a volume of the encrypted snapshot %s", snap.id)
		}
	case p.VolumeSize == nil:
		return nil, ec2query.Errorf("MissingParameter", "The request must contain the parameter size or snapshotId")
	}
	if p.VolumeSize != nil {
		v.sizeGiB = *p.VolumeSize
	}
	if err := v.checkSize(p.Iops); err != nil {
		return nil, err
	}
	v.kmsKey, plan.keyStatus = c.encryption(encrypted, key)
	v.encrypted = v.kmsKey != ""
	if plan.keyStatus == keyUsable {
		plan.keyStatus = source
	}
	v.rates(p.Iops, p.Throughput)
	return plan, nil
}

// makeVolume creates the volume of a plan. Its disk is copied after the call.
func (c *call) makeVolume(plan *volumePlan, zone string, t tags) *volume {
	v := plan.volume
	v.base = c.newBase(volumeKind(), t)
	v.zone = zone
	if plan.snapshot == nil {
		v.disk = c.server.newBlankDisk(v.sizeGiB)
	} else {
		from, to := c.diskOf(plan.snapshot), c.server.newDiskRef(v.sizeGiB)
		v.disk, v.lineage = to, plan.snapshot.lineage
		c.afterwards(func(ctx context.Context) *ec2query.Error {
			return ec2query.Internal(to.copyFrom(ctx, from))
		})
	}
	c.volumes.put(&v)
	return &v
}
