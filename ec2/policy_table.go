package ec2

import (
	"strings"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// The permissions of each feature are taken from "Actions, resources, and condition
// keys for Amazon EC2" in the Service Authorization Reference.

// requestTagged returns the condition that the call tags new resources with a build
// id.
func requestTagged() map[string]map[string][]string {
	return map[string]map[string][]string{"StringLike": {"aws:RequestTag/" + TagBuild: {"*"}}}
}

// resourceTagged returns the condition that existing resources have a build's tag.
func resourceTagged() map[string]map[string][]string {
	return map[string]map[string][]string{"StringLike": {"aws:ResourceTag/" + TagBuild: {"*"}}}
}

func ec2Actions(names ...string) []string {
	actions := make([]string, 0, len(names))
	for _, name := range names {
		actions = append(actions, "ec2:"+name)
	}
	return actions
}

// decoding returns the permission for DeniedError to decode EC2's messages. The
// action cannot be restricted to resources.
func decoding() grant {
	return grant{"DecodeMessages", []string{"sts:DecodeAuthorizationMessage"}, []string{"*"}, nil}
}

func reading(names ...string) grant { return grant{"Look", ec2Actions(names...), []string{"*"}, nil} }

// machineGrants returns the permissions to launch and terminate an instance.
func (b Builder) machineGrants() grants {
	r := b.place()
	return append(grants{
		reading("DescribeImages", "DescribeInstances", "DescribeSubnets", "DescribeSecurityGroups"),
		decoding(),
		{"LaunchFrom", ec2Actions("RunInstances"), arns("ec2", r, "image/*", "subnet/*", "security-group/*", "snapshot/*"), nil},
		{"Launch", ec2Actions("RunInstances"), arns("ec2", r, "instance/*", "volume/*", "network-interface/*"), requestTagged()},
		{"ManageInstance", ec2Actions("TerminateInstances"), arns("ec2", r, "instance/*"), resourceTagged()},
		{"TagNewResources", ec2Actions("CreateTags"), arns("ec2", r, "instance/*", "volume/*", "network-interface/*"), createdBy("RunInstances")},
	}, b.launchGrants(r)...)
}

// imageGrants returns the permissions for the AMI without copies and publishers.
func (b Builder) imageGrants() grants {
	r := b.place()
	g := append(grants{reading("DescribeSnapshots")}, b.captureGrants(r)...)
	g = append(g, b.destinationGrants(r)...)
	for _, c := range b.Distribute.Copies {
		if b.cloudOf(c) != b.Cloud { // the account may read the AMI while it copies
			g = append(g, encryptionGrants(r)...)
			g = append(g,
				grant{"Share", ec2Actions("ModifyImageAttribute"), arns("ec2", r, "image/*"), resourceTagged()},
				grant{"Share", ec2Actions("ModifySnapshotAttribute"), arns("ec2", r, "snapshot/*"), resourceTagged()})
		} else {
			g = append(g, b.destinationGrants(c.Region)...)
		}
	}
	return g
}

// createdBy returns the condition that tags are set by the call that creates the
// resource.
func createdBy(by string) map[string]map[string][]string {
	return map[string]map[string][]string{"StringEquals": {"ec2:CreateAction": {by}}}
}

// captureGrants returns the permissions that depend on Capture.
func (b Builder) captureGrants(r string) grants {
	c := b.Capture
	if b.disk() != nil {
		return b.diskGrants(r)
	}
	var g grants
	if !c.CrashConsistent {
		g = append(g, grant{"ManageInstance", ec2Actions("StopInstances"), arns("ec2", r, "instance/*"), resourceTagged()})
	}
	if c.FromSnapshots {
		return append(g,
			reading("DescribeVolumes"),
			grant{"ManageInstance", ec2Actions("CreateSnapshots"), arns("ec2", r, "instance/*", "volume/*"), resourceTagged()},
			grant{"CreateSnapshots", ec2Actions("CreateSnapshots"), arns("ec2", r, "snapshot/*"), requestTagged()},
			grant{"TagNewResources", ec2Actions("CreateTags"), arns("ec2", r, "snapshot/*"), createdBy("CreateSnapshots")},
			grant{"CreateImage", ec2Actions("RegisterImage"), arns("ec2", r, "image/*"), requestTagged()},
			grant{"CreateImageFrom", ec2Actions("RegisterImage"), arns("ec2", r, "snapshot/*"), resourceTagged()},
			grant{"TagNewResources", ec2Actions("CreateTags"), arns("ec2", r, "image/*"), createdBy("RegisterImage")})
	}
	if c.ENA || c.SRIOV {
		g = append(g, grant{"ManageInstance", ec2Actions("ModifyInstanceAttribute"), arns("ec2", r, "instance/*"), resourceTagged()})
	}
	if !c.AllowIMDSv1 { // the source may allow it
		g = append(g, grant{"RequireIMDSv2", ec2Actions("ModifyImageAttribute"), arns("ec2", r, "image/*"), resourceTagged()})
	}
	return append(g,
		grant{"ManageInstance", ec2Actions("CreateImage"), arns("ec2", r, "instance/*"), resourceTagged()},
		grant{"CreateImage", ec2Actions("CreateImage"), arns("ec2", r, "image/*", "snapshot/*"), requestTagged()},
		grant{"TagNewResources", ec2Actions("CreateTags"), arns("ec2", r, "image/*", "snapshot/*"), createdBy("CreateImage")})
}

// launchGrants returns the permissions that depend on the launch options.
func (b Builder) launchGrants(r string) grants {
	var g grants
	if !b.Network.VPC.isZero() {
		g = append(g, reading("DescribeVpcs"))
	}
	if !b.Network.ownGroups() {
		g = append(g,
			grant{"CreateSecurityGroup", ec2Actions("CreateSecurityGroup"), arns("ec2", r, "security-group/*"), requestTagged()},
			grant{"CreateSecurityGroupInVPC", ec2Actions("CreateSecurityGroup"), arns("ec2", r, "vpc/*"), nil},
			grant{"TagNewResources", ec2Actions("CreateTags"), arns("ec2", r, "security-group/*"), createdBy("CreateSecurityGroup")},
			grant{"ManageSecurityGroup", ec2Actions("DeleteSecurityGroup"), arns("ec2", r, "security-group/*"), resourceTagged()})
		if b.SSH.Dial == nil || len(b.SSH.From) > 0 {
			g = append(g, grant{"ManageSecurityGroup", ec2Actions("AuthorizeSecurityGroupIngress"), arns("ec2", r, "security-group/*"), resourceTagged()})
		}
	}
	if b.SSH.ConsoleHostKey {
		g = append(g, grant{"ManageInstance", ec2Actions("GetConsoleOutput"), arns("ec2", r, "instance/*"), resourceTagged()})
	}
	if b.Source != nil {
		g = append(g, b.Source.grants(r)...)
	}
	if b.InstanceProfilePolicy != "" {
		g = append(g, profileGrants(r)...)
	}
	if b.InstanceProfile != "" {
		profile := b.InstanceProfile
		if !strings.HasPrefix(profile, "arn:") {
			profile = "arn:" + iampolicy.Partition(r) + ":iam::*:instance-profile/*" + profile // with any path
		}
		g = append(g, grant{"DescribeProfile", []string{"iam:GetInstanceProfile"}, []string{profile}, nil})
		g = append(g, grant{"PassRole", []string{"iam:PassRole"}, []string{"arn:" + iampolicy.Partition(r) + ":iam::*:role/*"}, map[string]map[string][]string{
			"StringEquals": {"iam:PassedToService": {"ec2.amazonaws.com"}},
		}})
	}
	g = append(g, b.diskKeyGrants(r)...)
	if len(b.InstanceTypes) > 0 {
		g = append(g, reading("DescribeInstanceTypes"))
	}
	if b.Network.choosesZones() {
		g = append(g, reading("DescribeInstanceTypeOfferings"))
	}
	if b.SSH.KeyPair != "" {
		g = append(g, reading("DescribeKeyPairs"))
		g = append(g, grant{"LaunchFrom", ec2Actions("RunInstances"), arns("ec2", r, "key-pair/"+b.SSH.KeyPair), nil})
	}
	if p := b.Placement; p.Group != "" {
		g = append(g, grant{"LaunchFrom", ec2Actions("RunInstances"), arns("ec2", r, "placement-group/*"), nil})
	}
	if p := b.Placement; p.CapacityReservation != "" || p.CapacityReservationGroup != "" {
		g = append(g, grant{"LaunchFrom", ec2Actions("RunInstances"), arns("ec2", r, "capacity-reservation/*"), nil})
	}
	return g
}

// diskKeyGrants returns the permissions to encrypt and decrypt the AMI's volumes.
func (b Builder) diskKeyGrants(r string) grants {
	var g grants
	for _, d := range b.BlockDevices {
		if d.Encrypted == Enabled || d.KMSKey != "" {
			g = append(g, keyGrants(r, d.KMSKey)...)
		}
	}
	return g
}

// destinationGrants returns the permissions to promote and to remove an AMI in a
// region.
func (b Builder) destinationGrants(r string) grants {
	d := b.Distribute
	g := grants{
		{"Remove", ec2Actions("DeregisterImage"), arns("ec2", r, "image/*"), resourceTagged()},
		{"Remove", ec2Actions("DeleteSnapshot"), arns("ec2", r, "snapshot/*"), resourceTagged()},
		{"Promote", ec2Actions("DeleteTags"), arns("ec2", r, "image/*", "snapshot/*"), map[string]map[string][]string{
			"StringLike":                resourceTagged()["StringLike"],
			"ForAllValues:StringEquals": {"aws:TagKeys": {TagExpires}},
		}},
	}
	if d.LaunchPermissions.Public {
		g = append(g, reading("GetImageBlockPublicAccessState"))
	}
	if d.SnapshotPermissions.Public {
		g = append(g, reading("GetSnapshotBlockPublicAccessState"))
	}
	if d.shares() {
		g = append(g, encryptionGrants(r)...)
	}
	if !d.LaunchPermissions.isZero() {
		g = append(g, grant{"Share", ec2Actions("ModifyImageAttribute"), arns("ec2", r, "image/*"), resourceTagged()})
	}
	if !d.SnapshotPermissions.isZero() {
		g = append(g, grant{"Share", ec2Actions("ModifySnapshotAttribute"), arns("ec2", r, "snapshot/*"), resourceTagged()})
	}
	if d.DeprecateAfter > 0 || !d.DeprecateAt.IsZero() {
		g = append(g, grant{"Deprecate", ec2Actions("EnableImageDeprecation"), arns("ec2", r, "image/*"), resourceTagged()})
	}
	if d.Protection != Unprotected {
		g = append(g, grant{"Protect", ec2Actions("EnableImageDeregistrationProtection", "DisableImageDeregistrationProtection"), arns("ec2", r, "image/*"), resourceTagged()})
	}
	return g
}

// encryptionGrants returns the permissions to find out whether the encryption of an
// AMI lets it be shared.
func encryptionGrants(r string) grants {
	return grants{
		reading("GetEbsEncryptionByDefault", "GetEbsDefaultKmsKeyId"),
		{"DescribeKey", []string{"kms:DescribeKey"}, keyARNs(r, ""), nil}, // the default key
	}
}

// grants returns the permissions that the copy's account needs for the copy.
func (c Copy) grants() grants {
	g := grants{
		reading("DescribeImages", "DescribeSnapshots"),
		decoding(),
		{"CopyFrom", ec2Actions("CopyImage"), arns("ec2", "*", "image/*", "snapshot/*"), nil},
		{"Copy", ec2Actions("CopyImage"), arns("ec2", c.Region, "image/*", "snapshot/*"), requestTagged()},
		{"TagNewResources", ec2Actions("CreateTags"), arns("ec2", c.Region, "image/*", "snapshot/*"), createdBy("CopyImage")},
	}
	if c.Encrypted == Enabled || c.KMSKey != "" {
		g = append(g, keyGrants(c.Region, c.KMSKey)...)
	}
	return g
}

// keyGrants returns the permissions for EBS to use a key on the caller's behalf. An
// empty key means the account's default key.
func keyGrants(r, key string) grants {
	resources := keyARNs(r, key)
	g := grants{}
	if key != "" { // checked before the launch
		g = append(g, grant{"DescribeKey", []string{"kms:DescribeKey"}, resources, nil})
	}
	via := map[string][]string{"kms:ViaService": {"ec2." + r + ".amazonaws.com"}}
	return append(g, grants{
		{
			"UseKey",
			[]string{"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"},
			resources, map[string]map[string][]string{"StringEquals": via},
		},
		{"CreateKeyGrant", []string{"kms:CreateGrant"}, resources, map[string]map[string][]string{
			"StringEquals": via, "Bool": {"kms:GrantIsForAWSResource": {"true"}},
		}},
	}...)
}

// ownRegions returns the regions that have the AMI in the Builder's account.
func (b Builder) ownRegions() []string {
	regions := []string{b.place()}
	for _, c := range b.Distribute.Copies {
		if b.cloudOf(c) == b.Cloud {
			regions = append(regions, c.Region)
		}
	}
	return regions
}

// keyARNs returns the key's ARN if it is known, else a pattern for all keys.
func keyARNs(r, key string) []string {
	if strings.HasPrefix(key, "arn:") && strings.Contains(key, ":key/") {
		return []string{key}
	}
	return arns("kms", r, "key/*")
}

// parameterARNs returns the ARN of a parameter. AWS's public ones have no account.
func parameterARNs(region, name string) []string {
	resource := "parameter/" + strings.TrimPrefix(name, "/")
	if strings.HasPrefix(name, "/aws/service/") {
		return []string{"arn:" + iampolicy.Partition(region) + ":ssm:" + region + "::" + resource}
	}
	return arns("ssm", region, resource)
}
