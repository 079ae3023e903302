package ec2

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/internal/awsapi"
)

// A machineRecord records what the AMI is registered from: the instance's volumes
// with their snapshots, and its attributes.
type machineRecord struct {
	Disks   []disk `json:"disks,omitempty"`
	Refused bool   `json:"refused,omitempty"` // EC2 refused to create snapshots
	ENA     bool   `json:"ena,omitempty"`
	SRIOV   string `json:"sriov,omitempty"`
	Boot    string `json:"boot,omitempty"`
	TPM     string `json:"tpm,omitempty"`
}

// A disk is a volume of the instance, or a Disk, and its snapshot.
type disk struct {
	Device     string `json:"device"`
	Volume     string `json:"volume,omitempty"`
	Snapshot   string `json:"snapshot,omitempty"`
	Type       string `json:"type"`
	SizeGiB    int32  `json:"size_gib"`
	IOPS       int32  `json:"iops,omitempty"`
	Throughput int32  `json:"throughput,omitempty"`
	Stays      bool   `json:"stays,omitempty"` // after the instance is terminated

	Upload uploadRecord `json:"upload,omitzero"` // of a disk without an instance
}

// createSnapshots creates a snapshot of each volume, all at the same moment.
func (s *session) createSnapshots(ctx context.Context) error {
	if err := s.readMachine(ctx); err != nil {
		return err
	}
	s.nameImage()
	in := &awsec2.CreateSnapshotsInput{
		InstanceSpecification: &ec2types.InstanceSpecification{InstanceId: aws.String(s.Instance.ID)},
		Description:           aws.String(s.description()),
		TagSpecifications:     tagged(s.imageTags(), ec2types.ResourceTypeSnapshot),
	}
	for _, d := range s.Machine.Disks {
		if s.omits(d.Device) && d.Device == s.Source.RootDevice {
			in.InstanceSpecification.ExcludeBootVolume = aws.Bool(true)
		} else if s.omits(d.Device) {
			in.InstanceSpecification.ExcludeDataVolumeIds = append(in.InstanceSpecification.ExcludeDataVolumeIds, d.Volume)
		}
	}
	s.Machine.Disks = slices.DeleteFunc(s.Machine.Disks, func(d disk) bool { return s.omits(d.Device) })
	out, err := s.region.client.CreateSnapshots(ctx, in)
	if err != nil {
		s.Machine.Refused = awsapi.Rejected(err)
		return err
	}
	for _, info := range out.Snapshots {
		i := slices.IndexFunc(s.Machine.Disks, func(d disk) bool { return d.Volume == aws.ToString(info.VolumeId) })
		if i < 0 {
			return fmt.Errorf("EC2 created a snapshot of %s, which is not a volume of %s", aws.ToString(info.VolumeId), s.Instance.ID)
		}
		s.Machine.Disks[i].Snapshot = aws.ToString(info.SnapshotId)
		s.run.Created("snapshot", s.Machine.Disks[i].Snapshot)
	}
	if i := slices.IndexFunc(s.Machine.Disks, func(d disk) bool { return d.Snapshot == "" }); i >= 0 {
		return fmt.Errorf("EC2 created no snapshot of %s", s.Machine.Disks[i].Volume)
	}
	return nil
}

// readMachine records the instance's volumes and attributes.
func (s *session) readMachine(ctx context.Context) error {
	s.Machine = machineRecord{}
	found, err := s.region.fetchInstances(ctx, []string{s.Instance.ID})
	if err != nil {
		return err
	}
	i, ok := found[s.Instance.ID]
	if !ok {
		return fmt.Errorf("instance %s not found", s.Instance.ID)
	}
	s.Machine.ENA, s.Machine.SRIOV = aws.ToBool(i.EnaSupport), aws.ToString(i.SriovNetSupport)
	s.Machine.Boot, s.Machine.TPM = string(i.BootMode), aws.ToString(i.TpmSupport)
	stays := map[string]bool{}
	for _, m := range i.BlockDeviceMappings {
		if m.Ebs != nil {
			stays[aws.ToString(m.Ebs.VolumeId)] = !aws.ToBool(m.Ebs.DeleteOnTermination)
		}
	}
	pages := awsec2.NewDescribeVolumesPaginator(s.region.client, &awsec2.DescribeVolumesInput{
		Filters: []ec2types.Filter{filter("attachment.instance-id", s.Instance.ID)}, MaxResults: aws.Int32(pageSize),
	})
	return eachPage(ctx, pages, func(page *awsec2.DescribeVolumesOutput) {
		for _, v := range page.Volumes {
			d := disk{
				Volume: aws.ToString(v.VolumeId), Type: string(v.VolumeType), SizeGiB: aws.ToInt32(v.Size),
				Throughput: aws.ToInt32(v.Throughput), Stays: stays[aws.ToString(v.VolumeId)],
			}
			if v.VolumeType != ec2types.VolumeTypeGp2 { // its performance depends on its size
				d.IOPS = aws.ToInt32(v.Iops)
			}
			for _, a := range v.Attachments {
				d.Device = aws.ToString(a.Device)
			}
			s.Machine.Disks = append(s.Machine.Disks, d)
		}
	})
}

func (t machineRecord) snapshots() []string {
	var ids []string
	for _, d := range t.Disks {
		if d.Snapshot != "" {
			ids = append(ids, d.Snapshot)
		}
	}
	return ids
}

// waitSnapshots waits until the snapshots are complete. CreateSnapshots has no
// client token, so a call whose response was lost may have created others; they
// are deleted here.
func (s *session) waitSnapshots(ctx context.Context) error {
	stop := s.region.reportSnapshots(ctx, s.run)
	defer stop()
	ours := s.Machine.snapshots()
	var unknown []string
	missing := s.region.absence("snapshot", "")
	err := s.region.snapshots.Wait(ctx, s.run.ID, func(all []ec2types.Snapshot, _ bool) (bool, error) {
		done, shown := 0, 0
		unknown = unknown[:0]
		for _, snap := range all {
			id := aws.ToString(snap.SnapshotId)
			switch {
			case !slices.Contains(ours, id):
				unknown = append(unknown, id)
			case snap.State == ec2types.SnapshotStateError:
				return false, fmt.Errorf("snapshot %s failed: %s", id, aws.ToString(snap.StateMessage))
			case snap.State == ec2types.SnapshotStateCompleted:
				done++
			}
		}
		for _, id := range ours {
			if slices.ContainsFunc(all, func(snap ec2types.Snapshot) bool { return aws.ToString(snap.SnapshotId) == id }) {
				shown++
			} else {
				missing.id = id
			}
		}
		return done == len(ours), missing.check(shown == len(ours), true)
	})
	if err != nil {
		return err
	}
	return s.region.deleteSnapshots(ctx, unknown)
}

// discardSnapshots removes the snapshots unless they belong to the AMI. It looks
// for more than the known ones, because calls whose responses were lost may have
// created some. If none are known, it waits for SettleTime, since others may still
// appear.
func (s *session) discardSnapshots(ctx context.Context, outcome bake.Outcome) error {
	known := s.Machine.snapshots()
	if outcome == bake.Succeeded || s.Image.Removed || len(known) == 0 && s.Machine.Refused {
		return nil
	}
	var all []string
	err := s.region.settled(ctx, func(ctx context.Context) (_ bool, err error) {
		all, err = s.region.snapshotsOfBuild(ctx, s.run.ID)
		missing := slices.ContainsFunc(known, func(id string) bool { return !slices.Contains(all, id) })
		return len(known) > 0 && !missing, err
	})
	if err != nil {
		return err
	}
	own, err := s.region.ownSnapshots(ctx, s.run.ID, known)
	if err != nil {
		return err
	}
	all = append(all, own...)
	slices.Sort(all)
	all = slices.Compact(all)
	if err := s.region.deleteSnapshots(ctx, all); err != nil {
		return err
	}
	for _, id := range all {
		s.run.Removed("snapshot", id)
	}
	s.Machine = machineRecord{Refused: true}
	return nil
}
