package ec2

import (
	"context"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// needsInstance reports whether baking img launches instances: to bake on, or to check the
// AMI of a Disk.
func (b Builder) needsInstance(img *bake.Image) bool {
	return b.disk() == nil || needsLogin(img)
}

// planDisk adds the snapshots of a Disk, instead of the instance to bake on.
func (p *planner) planDisk(ctx context.Context) error {
	d := p.builder.disk()
	stays := !p.builder.Distribute.OnlyCopies
	p.creates("snapshot", "of the "+d.String(), stays)
	for _, data := range d.Data {
		p.creates("snapshot", "of the disk "+data.Device, stays)
	}
	p.calls(p.region, p.builder.Cloud, "StartSnapshot", "PutSnapshotBlock", "CompleteSnapshot")
	if d.Open != nil {
		p.calls(p.region, p.builder.Cloud, "ListSnapshotBlocks", "GetSnapshotBlock")
	}
	if d.isFrom() {
		return nil
	}
	if err := p.readDisks(ctx); err != nil {
		return err
	}
	p.plan.Source = p.Source
	return nil
}

// diskGrants returns the permissions to write the snapshots of a Disk and to register the
// AMI. From "Actions, resources, and condition keys for Amazon Elastic Block Store".
func (b Builder) diskGrants(r string) grants {
	d := b.disk()
	snapshots := []string{"arn:" + iampolicy.Partition(r) + ":ec2:" + r + "::snapshot/*"}
	tagged := []string{"ebs:PutSnapshotBlock", "ebs:CompleteSnapshot"}
	g := grants{
		reading("DescribeImages"),
		decoding(),
		{"StartSnapshots", []string{"ebs:StartSnapshot"}, snapshots, requestTagged()},
		{"TagNewResources", ec2Actions("CreateTags"), arns("ec2", r, "image/*"), createdBy("RegisterImage")},
		{"TagSnapshots", ec2Actions("CreateTags"), arns("ec2", r, "snapshot/*"), requestTagged()},
		{"CreateImage", ec2Actions("RegisterImage"), arns("ec2", r, "image/*"), requestTagged()},
		{"CreateImageFrom", ec2Actions("RegisterImage"), arns("ec2", r, "snapshot/*"), resourceTagged()},
	}
	if d.BlockSums != "" {
		g = append(g, grant{"StartSnapshotsFrom", []string{"ebs:StartSnapshot"}, snapshots, resourceTagged()})
	}
	if d.Open != nil || d.BlockSums != "" && d.ReadParent {
		tagged = append(tagged, "ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock")
	}
	g = append(g, grant{"WriteSnapshots", tagged, snapshots, resourceTagged()})
	if d.encrypts() {
		g = append(g, grant{"EncryptSnapshots", []string{
			"kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo",
		}, keyARNs(r, d.KMSKey), nil})
	}
	return g
}
