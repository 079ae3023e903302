package ec2

import (
	"strings"

	"github.com/bakestone-go/bakestone/ec2/iampolicy"
)

// The permissions of each feature. What a call needs is from "Actions,
// resources, and condition keys for Amazon EC2" of the Service Authorization
// Reference.

// made is the condition that what a call creates gets the tag of its build.
func requestTagged() map[string]map[string][]string {
	return map[string]map[string][]string{"StringLike": {"aws:RequestTag/" + TagBuild: {"*"}}}
}

// ours is the condition that what a call changes has the tag of a build.
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

// explaining lets an error say why EC2 refused a call. Nobody can be denied the
// reading of a particular message: it has no resource.
func decoding() grant {
	return grant{"Explain", []string{"sts:DecodeAuthorizationMessage"}, []string{"*"}, nil}
}

func reading(names ...string) grant { return grant{"Look", ec2Actions(names...), []string{"*"}, nil} }

func (b Builder) place() string { return b.Cloud.region(b.Region).name }

// machineGrants are what a machine needs to be there and to go again.
func (b Builder) machineGrants() grants {
	r := b.place()
	return append(grants{
		reading("DescribeImages", "DescribeInstances", "DescribeSubnets", "DescribeSecurityGroups"),
		decoding(),
		{"LaunchFrom", ec2Actions("RunInstances"), arns("ec2", r, "image/*", "subnet/*", "security-group/*", "snapshot/*"), nil},
		{"Launch", ec2Actions("RunInstances"), arns("ec2", r, "instance/*", "volume/*", "network-interface/*"), requestTagged()},
		{"UseInstance", ec2Actions("TerminateInstances"), arns("ec2", r, "instance/*"), resourceTagged()},
		{"TagWhatIsMade", ec2Actions("CreateTags"), arns("ec2", r, "instance/*", "volume/*", "network-interface/*"), createdBy("RunInstances")},
	}, b.launchGrants(r)...)
}

// imageGrants are what the AMI needs, without its copies and publishers.
func (b Builder) imageGrants() grants {
	r := b.place()
	g := append(grants{reading("DescribeSnapshots")}, b.captureGrants(r)...)
	g = append(g, b.destinationGrants(r)...)
	for _, c := range b.Distribute.Copies {
		if b.cloudOf(c) != b.Cloud { // which may read what it pulls, for a while
			g = append(g,
				grant{"Share", ec2Actions("ModifyImageAttribute"), arns("ec2", r, "image/*"), resourceTagged()},
				grant{"Share", ec2Actions("ModifySnapshotAttribute"), arns("ec2", r, "snapshot/*"), resourceTagged()})
		} else {
			g = append(g, b.destinationGrants(c.Region)...)
		}
	}
	return g
}

// tagging is the condition that tags are set by a call that creates something.
func createdBy(by string) map[string]map[string][]string {
	return map[string]map[string][]string{"StringEquals": {"ec2:CreateAction": {by}}}
}

// captureGrants are what depends on how the AMI is taken.
func (b Builder) captureGrants(r string) grants {
	c := b.Capture
	var g grants
	if !c.CrashConsistent {
		g = append(g, grant{"UseInstance", ec2Actions("StopInstances"), arns("ec2", r, "instance/*"), resourceTagged()})
	}
	if c.FromSnapshots {
		return append(g,
			reading("DescribeVolumes"),
			grant{"UseInstance", ec2Actions("CreateSnapshots"), arns("ec2", r, "instance/*", "volume/*"), resourceTagged()},
			grant{"MakeSnapshots", ec2Actions("CreateSnapshots"), arns("ec2", r, "snapshot/*"), requestTagged()},
			grant{"TagWhatIsMade", ec2Actions("CreateTags"), arns("ec2", r, "snapshot/*"), createdBy("CreateSnapshots")},
			grant{"MakeImage", ec2Actions("RegisterImage"), arns("ec2", r, "image/*"), requestTagged()},
			grant{"MakeImageOf", ec2Actions("RegisterImage"), arns("ec2", r, "snapshot/*"), resourceTagged()},
			grant{"TagWhatIsMade", ec2Actions("CreateTags"), arns("ec2", r, "image/*"), createdBy("RegisterImage")})
	}
	if c.ENA || c.SRIOV {
		g = append(g, grant{"UseInstance", ec2Actions("ModifyInstanceAttribute"), arns("ec2", r, "instance/*"), resourceTagged()})
	}
	if !c.AllowIMDSv1 { // which the source may do
		g = append(g, grant{"RequireIMDSv2", ec2Actions("ModifyImageAttribute"), arns("ec2", r, "image/*"), resourceTagged()})
	}
	return append(g,
		grant{"UseInstance", ec2Actions("CreateImage"), arns("ec2", r, "instance/*"), resourceTagged()},
		grant{"MakeImage", ec2Actions("CreateImage"), arns("ec2", r, "image/*", "snapshot/*"), requestTagged()},
		grant{"TagWhatIsMade", ec2Actions("CreateTags"), arns("ec2", r, "image/*", "snapshot/*"), createdBy("CreateImage")})
}

// launchGrants are what depends on how the instance is launched.
func (b Builder) launchGrants(r string) grants {
	var g grants
	if !b.Network.VPC.isZero() {
		g = append(g, reading("DescribeVpcs"))
	}
	if !b.Network.ownGroups() {
		g = append(g,
			grant{"MakeSecurityGroup", ec2Actions("CreateSecurityGroup"), arns("ec2", r, "security-group/*"), requestTagged()},
			grant{"MakeSecurityGroupIn", ec2Actions("CreateSecurityGroup"), arns("ec2", r, "vpc/*"), nil},
			grant{"TagWhatIsMade", ec2Actions("CreateTags"), arns("ec2", r, "security-group/*"), createdBy("CreateSecurityGroup")},
			grant{"UseSecurityGroup", ec2Actions("DeleteSecurityGroup"), arns("ec2", r, "security-group/*"), resourceTagged()})
		if b.SSH.Dial == nil || len(b.SSH.From) > 0 {
			g = append(g, grant{"UseSecurityGroup", ec2Actions("AuthorizeSecurityGroupIngress"), arns("ec2", r, "security-group/*"), resourceTagged()})
		}
	}
	if b.SSH.ConsoleHostKey {
		g = append(g, grant{"UseInstance", ec2Actions("GetConsoleOutput"), arns("ec2", r, "instance/*"), resourceTagged()})
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
			profile = "arn:" + iampolicy.Partition(r) + ":iam::*:instance-profile/*" + profile // below any path
		}
		g = append(g, grant{"LookAtProfile", []string{"iam:GetInstanceProfile"}, []string{profile}, nil})
		g = append(g, grant{"PassRole", []string{"iam:PassRole"}, []string{"arn:" + iampolicy.Partition(r) + ":iam::*:role/*"}, map[string]map[string][]string{
			"StringEquals": {"iam:PassedToService": {"ec2.amazonaws.com"}},
		}})
	}
	g = append(g, b.diskKeyGrants(r)...)
	if b.SSH.KeyPair != "" {
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

// diskKeyGrants are what it takes to write, read and copy the disks of the AMI
// where it is baked.
func (b Builder) diskKeyGrants(r string) grants {
	var g grants
	for _, d := range b.BlockDevices {
		if d.Encrypted == Enabled || d.KMSKey != "" {
			g = append(g, keyGrants(r, d.KMSKey)...)
		}
	}
	return g
}

// releaseGrants are what an AMI needs in one place: to be made one that others
// may use, and to be removed.
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
	if d.LaunchPermissions.Public || d.SnapshotPermissions.Public {
		g = append(g, reading("GetEbsEncryptionByDefault"))
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

// grants are what making the copy needs of the account that gets it.
func (c Copy) grants() grants {
	g := grants{
		reading("DescribeImages", "DescribeSnapshots"),
		decoding(),
		{"CopyFrom", ec2Actions("CopyImage"), arns("ec2", "*", "image/*", "snapshot/*"), nil},
		{"Copy", ec2Actions("CopyImage"), arns("ec2", c.Region, "image/*", "snapshot/*"), requestTagged()},
		{"TagWhatIsMade", ec2Actions("CreateTags"), arns("ec2", c.Region, "image/*", "snapshot/*"), createdBy("CopyImage")},
	}
	if c.Encrypted == Enabled || c.KMSKey != "" {
		g = append(g, keyGrants(c.Region, c.KMSKey)...)
	}
	return g
}

// keyGrants are what EBS does with a key in the caller's name. An empty key is
// the account's default one.
func keyGrants(r, key string) grants {
	resources := keyARNs(r, key)
	looks := grants{}
	if key != "" { // before the bake begins
		looks = lookAtKey(r, key)
	}
	via := map[string][]string{"kms:ViaService": {"ec2." + r + ".amazonaws.com"}}
	return append(looks, grants{
		{
			"UseKey",
			[]string{"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"},
			resources, map[string]map[string][]string{"StringEquals": via},
		},
		{"LendKey", []string{"kms:CreateGrant"}, resources, map[string]map[string][]string{
			"StringEquals": via, "Bool": {"kms:GrantIsForAWSResource": {"true"}},
		}},
	}...)
}

// ownRegions are where the AMI is in the Builder's account.
func (b Builder) ownRegions() []string {
	regions := []string{b.place()}
	for _, c := range b.Distribute.Copies {
		if b.cloudOf(c) == b.Cloud {
			regions = append(regions, c.Region)
		}
	}
	return regions
}

func lookAtKey(r, key string) grants {
	return grants{{"LookAtKey", []string{"kms:DescribeKey"}, keyARNs(r, key), nil}}
}

// keyARNs names a key as far as its name does.
func keyARNs(r, key string) []string {
	if strings.HasPrefix(key, "arn:") && strings.Contains(key, ":key/") {
		return []string{key}
	}
	return arns("kms", r, "key/*")
}

// parameterARNs names a parameter; AWS's public ones belong to no account.
func parameterARNs(region, name string) []string {
	resource := "parameter/" + strings.TrimPrefix(name, "/")
	if strings.HasPrefix(name, "/aws/service/") {
		return []string{"arn:" + iampolicy.Partition(region) + ":ssm:" + region + "::" + resource}
	}
	return arns("ssm", region, resource)
}
