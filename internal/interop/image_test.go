package interop_test

// images covers images and snapshots outside of a bake: creating, copying and
// sharing them.
func images() []step {
	const (
		west    = " --region us-west-2"
		nothing = "ami-0123456789abcdef0"
		nosnap  = "snap-0123456789abcdef0"
		mapping = " --root-device-name /dev/sda1 --architecture x86_64 --virtualization-type hvm --block-device-mappings DeviceName=/dev/sda1,Ebs={SnapshotId=$snapshot}"
		share   = "ec2 modify-image-attribute --image-id $image --launch-permission "
		shared  = "ec2 describe-image-attribute --image-id $image --attribute launchPermission"
		volumes = "ec2 describe-snapshot-attribute --snapshot-id $snapshot --attribute createVolumePermission"
	)
	return []step{
		run("base", "ec2 describe-images --owners "+canonical+" --filters Name=name,Values="+baseName+" --query Images[].ImageId").save("base", "[0]"),
		run("run", "ec2 run-instances --image-id $base --instance-type t3.micro --query Instances[].ImageId"),
		run("running", "ec2 describe-instances --filters Name=image-id,Values=$base Name=instance-state-name,Values=running,pending "+
			"--query Reservations[].Instances[].[InstanceId,State.Name,BlockDeviceMappings[0].Ebs.VolumeId]").
			waitFor("[0][1]", "running").save("instance", "[0][0]", "volume", "[0][2]"),

		run("snapshot", "ec2 create-snapshot --volume-id $volume --description by-hand --tag-specifications "+
			"ResourceType=snapshot,Tags=[{Key=build,Value=1}]").save("snapshot", "SnapshotId"),
		run("delete volume in use", "ec2 delete-volume --volume-id $volume"),
		run("snapshot of nothing", "ec2 create-snapshot --volume-id vol-0123456789abcdef0"),
		run("snapshot completed", "ec2 describe-snapshots --snapshot-ids $snapshot --query Snapshots[].[SnapshotId,State,Progress,Description,Encrypted,OwnerId,Tags]").
			waitFor("[0][1]", "completed"),
		run("snapshots of an instance", "ec2 create-snapshots --instance-specification InstanceId=$instance --description whole").save("whole", "Snapshots[0].SnapshotId"),
		run("snapshots of no instance", "ec2 create-snapshots --instance-specification InstanceId=i-0123456789abcdef0"),
		run("unknown snapshot", "ec2 describe-snapshots --snapshot-ids "+nosnap),
		run("malformed snapshot", "ec2 describe-snapshots --snapshot-ids snap-none"),
		run("delete unknown snapshot", "ec2 delete-snapshot --snapshot-id "+nosnap),

		run("register", "ec2 register-image --name by-hand"+mapping).save("image", "ImageId"),
		run("register bad name", "ec2 register-image --name what?"+mapping),
		run("register again", "ec2 register-image --name by-hand"+mapping),
		run("registered", "ec2 describe-images --image-ids $image --query Images[].[ImageId,Name,State,OwnerId,Public,ImageType]"),
		run("malformed image", "ec2 describe-images --image-ids ami-none"),
		run("create image of nothing", "ec2 create-image --instance-id i-0123456789abcdef0 --name none"),
		run("create image of a taken name", "ec2 create-image --instance-id $instance --name by-hand"),

		run("share", share+"Add=[{UserId=210987654321},{UserId=111122223333}]"),
		run("shared", shared),
		run("block state", "ec2 get-image-block-public-access-state"),
		run("unblock", "ec2 disable-image-block-public-access"),
		run("share with all", share+"Add=[{Group=all}]"),
		run("shared with all", shared),
		run("public", "ec2 describe-images --image-ids $image --query Images[].Public"),
		run("unshare", share+"Remove=[{UserId=111122223333},{Group=all}]"),
		run("unshared", shared),
		run("share with no account", share+"Add=[{UserId=12}]"),
		run("share with a group", share+"Add=[{Group=none}]"),
		run("share nothing", "ec2 modify-image-attribute --image-id "+nothing+" --launch-permission Add=[{UserId=210987654321}]"),
		run("reset", "ec2 reset-image-attribute --image-id $image --attribute launchPermission"),
		run("describe", "ec2 modify-image-attribute --image-id $image --description text"),
		run("described", "ec2 describe-image-attribute --image-id $image --attribute description"),

		run("share snapshot", "ec2 modify-snapshot-attribute --snapshot-id $snapshot --attribute createVolumePermission --operation-type add --user-ids 210987654321"),
		run("shared snapshot", volumes),
		run("unshare snapshot", "ec2 modify-snapshot-attribute --snapshot-id $snapshot --attribute createVolumePermission --operation-type remove --user-ids 210987654321"),
		run("unshared snapshot", volumes),
		run("reset snapshot", "ec2 reset-snapshot-attribute --snapshot-id $snapshot --attribute createVolumePermission"),
		run("shared unknown snapshot", "ec2 describe-snapshot-attribute --snapshot-id "+nosnap+" --attribute createVolumePermission"),

		run("copy", "ec2 copy-image --source-region us-east-1 --source-image-id $image --name copy --description copied"+west).save("copy", "ImageId"),
		run("copied", "ec2 describe-images --image-ids $copy --query Images[].[ImageId,Name,State,OwnerId,Description,Architecture,SourceImageId,SourceImageRegion]"+west).
			waitFor("[0][2]", "available"),
		run("copy is not here", "ec2 describe-images --image-ids $copy"),
		run("copy nothing", "ec2 copy-image --source-region us-east-1 --source-image-id "+nothing+" --name copy2"+west),
		run("copy from nowhere", "ec2 copy-image --source-region us-nowhere-1 --source-image-id $image --name copy3"+west),
		run("copy of a taken name", "ec2 copy-image --source-region us-east-1 --source-image-id $image --name copy"+west),
		run("copy snapshot", "ec2 copy-snapshot --source-region us-east-1 --source-snapshot-id $snapshot --description copied"+west).save("snapcopy", "SnapshotId"),
		run("copied snapshot", "ec2 describe-snapshots --snapshot-ids $snapcopy --query Snapshots[].[SnapshotId,State,Description,OwnerId,VolumeSize]"+west).
			waitFor("[0][1]", "completed"),
		run("copy unknown snapshot", "ec2 copy-snapshot --source-region us-east-1 --source-snapshot-id "+nosnap+west),

		run("deregister copy", "ec2 deregister-image --image-id $copy"+west),
		run("deregister malformed", "ec2 deregister-image --image-id ami-none"),
		run("delete snapshot copy", "ec2 delete-snapshot --snapshot-id $snapcopy"+west),
		run("deregister", "ec2 deregister-image --image-id $image"),
		run("terminate", "ec2 terminate-instances --instance-ids $instance --query TerminatingInstances[].InstanceId"),
		run("terminate malformed", "ec2 terminate-instances --instance-ids none"),
	}
}

// disks covers volumes and their encryption.
func disks() []step {
	const create = "ec2 create-volume --availability-zone us-east-1a "
	return []step{
		run("create", create+"--size 8 --volume-type gp3 --iops 4000 --throughput 200 --tag-specifications ResourceType=volume,Tags=[{Key=a,Value=b}]").save("volume", "VolumeId"),
		run("volume", "ec2 describe-volumes --volume-ids $volume").waitFor("Volumes[0].State", "available"),
		run("by tag", "ec2 describe-volumes --filters Name=tag:a,Values=b Name=status,Values=available --query Volumes[].VolumeId"),
		run("no size", create),
		run("no zone", "ec2 create-volume --availability-zone us-east-1x --size 4"),
		run("no such type", create+"--size 4 --volume-type none"),
		run("io2 without a rate", create+"--size 4 --volume-type io2"),
		run("gp2 with throughput", create+"--size 4 --volume-type gp2 --throughput 200"),
		run("of no snapshot", create+"--snapshot-id snap-0123456789abcdef0"),
		run("snapshot", "ec2 create-snapshot --volume-id $volume --query [VolumeId,VolumeSize,Encrypted]"),
		run("snapshots", "ec2 describe-snapshots --filters Name=volume-id,Values=$volume --query Snapshots[].[SnapshotId,State]").
			waitFor("[0][1]", "completed").save("snapshot", "[0][0]"),
		run("of the snapshot", create+"--snapshot-id $snapshot --query [Size,SnapshotId,VolumeType,Encrypted]"),
		run("smaller than the snapshot", create+"--snapshot-id $snapshot --size 2"),
		run("key without encryption", create+"--size 1 --kms-key-id alias/none"),
		run("encrypted", create+"--size 1 --encrypted").save("encrypted", "VolumeId"),
		run("encrypted volume", "ec2 describe-volumes --volume-ids $encrypted --query Volumes[].[Encrypted,State]").waitFor("[0][1]", "available"),
		run("snapshot of the encrypted", "ec2 create-snapshot --volume-id $encrypted --query [Encrypted,VolumeSize]"),
		run("by default", "ec2 get-ebs-encryption-by-default"),
		run("enable by default", "ec2 enable-ebs-encryption-by-default"),
		run("by default, enabled", "ec2 get-ebs-encryption-by-default"),
		run("disable by default", "ec2 disable-ebs-encryption-by-default"),
		run("delete", "ec2 delete-volume --volume-id $volume"),
		run("delete again", "ec2 delete-volume --volume-id $volume"),
		run("delete malformed", "ec2 delete-volume --volume-id none"),
		run("deleted", "ec2 describe-volumes --volume-ids $volume"),
	}
}
