package ec2test

import (
	"context"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// createSnapshotsInput holds the parameters of CreateSnapshots, which snapshots
// all volumes of an instance.
type createSnapshotsInput struct {
	InstanceSpecification struct {
		InstanceID          string `ec2:"InstanceId,required"`
		ExcludeBootVolume   bool
		ExcludeDataVolumeID []string `ec2:"ExcludeDataVolumeId"`
	} `ec2:"InstanceSpecification,required"`
	Description        string
	CopyTagsFromSource string `ec2:"CopyTagsFromSource,oneof=volume"`
	TagSpecification   []tagSpecification
}

type snapshotInfoXML struct {
	ID          string               `xml:"snapshotId"`
	Volume      string               `xml:"volumeId"`
	State       string               `xml:"state"`
	Size        int                  `xml:"volumeSize"`
	Started     string               `xml:"startTime"`
	Progress    string               `xml:"progress"`
	Owner       string               `xml:"ownerId"`
	Description string               `xml:"description"`
	Encrypted   bool                 `xml:"encrypted"`
	Tags        ec2query.Set[tagXML] `xml:"tagSet"`
}

type createSnapshotsOutput struct {
	Snapshots ec2query.Set[snapshotInfoXML] `xml:"snapshotSet"`
}

func (c *call) createSnapshots(in *createSnapshotsInput) (*createSnapshotsOutput, *ec2query.Error) {
	spec := in.InstanceSpecification
	inst, err := lookup(c, &c.instances, instanceKind(), spec.InstanceID)
	if err != nil {
		return nil, err
	}
	if code := inst.phase.code(c.now); code != running && code != stopped {
		return nil, ec2query.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which snapshots can be created: %s", inst.id, code)
	}
	specs, err := tagSpecs(in.TagSpecification, "snapshot")
	if err != nil {
		return nil, err
	}
	var wanted []*volume
	for _, v := range inst.volumes {
		isRoot := v.device == inst.rootDevice
		excluded := slices.Contains(spec.ExcludeDataVolumeID, v.id)
		if excluded && isRoot {
			return nil, ec2query.InvalidValue("ExcludeDataVolumeId", v.id, "It is the root volume; use ExcludeBootVolume.")
		}
		if isRoot {
			excluded = spec.ExcludeBootVolume
		}
		if !excluded {
			wanted = append(wanted, v)
		}
	}
	for _, id := range spec.ExcludeDataVolumeID {
		if !slices.ContainsFunc(inst.volumes, func(v *volume) bool { return v.id == id }) {
			return nil, ec2query.InvalidValue("ExcludeDataVolumeId", id, "It is not a volume of the instance.")
		}
	}
	if len(wanted) == 0 {
		return nil, ec2query.InvalidCombination("All volumes of the instance are excluded")
	}
	if err := c.checkDryRun(); err != nil {
		return nil, err
	}
	out := &createSnapshotsOutput{}
	for _, v := range wanted {
		t := specs["snapshot"].clone()
		if in.CopyTagsFromSource != "" {
			for key, value := range v.tags {
				if _, given := t[key]; !given {
					t[key] = value
				}
			}
		}
		s := c.takeSnapshot(v, in.Description, t)
		c.afterwards(func(ctx context.Context) *ec2query.Error { return ec2query.Internal(s.disk.copyFrom(ctx, v.disk)) })
		out.Snapshots.Items = append(out.Snapshots.Items, snapshotInfoXML{
			ID: s.id, Volume: v.id, State: "pending", Size: s.sizeGiB, Started: ec2query.FormatTime(s.created), Progress: "",
			Owner: s.owner, Description: s.description, Encrypted: s.encrypted, Tags: t.set(c.now),
		})
	}
	return out, nil
}
