// Package audit looks into the disks of images, without booting them, for what an image
// must not carry: keys and passwords, ids that each machine needs for itself, histories,
// and system files that anyone may change.
//
// A [Disks] is a check that reads the artifact of a build and needs no machine:
//
//	img := &bake.Image{
//		…
//		Checks: []bake.Check{audit.Disks{}},
//	}
//
// [Report] returns what is found on any disks, for example those of somebody's AMI:
//
//	err := ec2.ReadDisks(ctx, cloud, &ec2.DiskSelection{ID: "ami-0123456789abcdef0"}, func(disks bake.SystemDisks) (err error) {
//		findings, err = audit.Report(ctx, disks, nil)
//		return err
//	})
//
// It reads ext2, ext3 and ext4. Other file systems are a finding, since what they have is
// not known: there is no pure Go reader of XFS or Btrfs that could be trusted with the disk
// of a stranger. The text of a finding never has the secret that was found.
package audit
