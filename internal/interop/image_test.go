package interop_test

// images is what is done with images and snapshots outside of a bake: made by
// hand, copied, and shared.
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
		does("base", "ec2 describe-images --owners "+canonical+" --filters Name=name,Values="+baseName+" --query Images[].ImageId").keeps("base", "[0]"),
		does("run", "ec2 run-instances --image-id $base --instance-type t3.micro --query Instances[].ImageId"),
		does("running", "ec2 describe-instances --filters Name=image-id,Values=$base Name=instance-state-name,Values=running,pending "+
			"--query Reservations[].Instances[].[InstanceId,State.Name,BlockDeviceMappings[0].Ebs.VolumeId]").
			awaits("[0][1]", "running").keeps("instance", "[0][0]", "volume", "[0][2]"),

		does("snapshot", "ec2 create-snapshot --volume-id $volume --description by-hand --tag-specifications "+
			"ResourceType=snapshot,Tags=[{Key=build,Value=1}]").keeps("snapshot", "SnapshotId"),
		does("delete volume in use", "ec2 delete-volume --volume-id $volume"),
		does("snapshot of nothing", "ec2 create-snapshot --volume-id vol-0123456789abcdef0"),
		does("snapshot completed", "ec2 describe-snapshots --snapshot-ids $snapshot --query Snapshots[].[SnapshotId,State,Progress,Description,Encrypted,OwnerId,Tags]").
			awaits("[0][1]", "completed"),
		does("snapshots of an instance", "ec2 create-snapshots --instance-specification InstanceId=$instance --description whole").keeps("whole", "Snapshots[0].SnapshotId"),
		does("snapshots of no instance", "ec2 create-snapshots --instance-specification InstanceId=i-0123456789abcdef0"),
		does("unknown snapshot", "ec2 describe-snapshots --snapshot-ids "+nosnap),
		does("malformed snapshot", "ec2 describe-snapshots --snapshot-ids snap-none"),
		does("delete unknown snapshot", "ec2 delete-snapshot --snapshot-id "+nosnap),

		does("register", "ec2 register-image --name by-hand"+mapping).keeps("image", "ImageId"),
		does("register bad name", "ec2 register-image --name what?"+mapping),
		does("register again", "ec2 register-image --name by-hand"+mapping),
		does("registered", "ec2 describe-images --image-ids $image --query Images[].[ImageId,Name,State,OwnerId,Public,ImageType]"),
		does("malformed image", "ec2 describe-images --image-ids ami-none"),
		does("create image of nothing", "ec2 create-image --instance-id i-0123456789abcdef0 --name none"),
		does("create image of a taken name", "ec2 create-image --instance-id $instance --name by-hand"),

		does("share", share+"Add=[{UserId=210987654321},{UserId=111122223333}]"),
		does("shared", shared),
		does("block state", "ec2 get-image-block-public-access-state"),
		does("unblock", "ec2 disable-image-block-public-access"),
		does("share with all", share+"Add=[{Group=all}]"),
		does("shared with all", shared),
		does("public", "ec2 describe-images --image-ids $image --query Images[].Public"),
		does("unshare", share+"Remove=[{UserId=111122223333},{Group=all}]"),
		does("unshared", shared),
		does("share with no account", share+"Add=[{UserId=12}]"),
		does("share with a group", share+"Add=[{Group=none}]"),
		does("share nothing", "ec2 modify-image-attribute --image-id "+nothing+" --launch-permission Add=[{UserId=210987654321}]"),
		does("reset", "ec2 reset-image-attribute --image-id $image --attribute launchPermission"),
		does("describe", "ec2 modify-image-attribute --image-id $image --description text"),
		does("described", "ec2 describe-image-attribute --image-id $image --attribute description"),

		does("share snapshot", "ec2 modify-snapshot-attribute --snapshot-id $snapshot --attribute createVolumePermission --operation-type add --user-ids 210987654321"),
		does("shared snapshot", volumes),
		does("unshare snapshot", "ec2 modify-snapshot-attribute --snapshot-id $snapshot --attribute createVolumePermission --operation-type remove --user-ids 210987654321"),
		does("unshared snapshot", volumes),
		does("reset snapshot", "ec2 reset-snapshot-attribute --snapshot-id $snapshot --attribute createVolumePermission"),
		does("shared unknown snapshot", "ec2 describe-snapshot-attribute --snapshot-id "+nosnap+" --attribute createVolumePermission"),

		does("copy", "ec2 copy-image --source-region us-east-1 --source-image-id $image --name copy --description copied"+west).keeps("copy", "ImageId"),
		does("copied", "ec2 describe-images --image-ids $copy --query Images[].[ImageId,Name,State,OwnerId,Description,Architecture,SourceImageId,SourceImageRegion]"+west).
			awaits("[0][2]", "available"),
		does("copy is not here", "ec2 describe-images --image-ids $copy"),
		does("copy nothing", "ec2 copy-image --source-region us-east-1 --source-image-id "+nothing+" --name copy2"+west),
		does("copy from nowhere", "ec2 copy-image --source-region us-nowhere-1 --source-image-id $image --name copy3"+west),
		does("copy of a taken name", "ec2 copy-image --source-region us-east-1 --source-image-id $image --name copy"+west),
		does("copy snapshot", "ec2 copy-snapshot --source-region us-east-1 --source-snapshot-id $snapshot --description copied"+west).keeps("snapcopy", "SnapshotId"),
		does("copied snapshot", "ec2 describe-snapshots --snapshot-ids $snapcopy --query Snapshots[].[SnapshotId,State,Description,OwnerId,VolumeSize]"+west).
			awaits("[0][1]", "completed"),
		does("copy unknown snapshot", "ec2 copy-snapshot --source-region us-east-1 --source-snapshot-id "+nosnap+west),

		does("deregister copy", "ec2 deregister-image --image-id $copy"+west),
		does("deregister malformed", "ec2 deregister-image --image-id ami-none"),
		does("delete snapshot copy", "ec2 delete-snapshot --snapshot-id $snapcopy"+west),
		does("deregister", "ec2 deregister-image --image-id $image"),
		does("terminate", "ec2 terminate-instances --instance-ids $instance --query TerminatingInstances[].InstanceId"),
		does("terminate malformed", "ec2 terminate-instances --instance-ids none"),
	}
}

// disks is what is done with volumes and with their encryption.
func disks() []step {
	const create = "ec2 create-volume --availability-zone us-east-1a "
	return []step{
		does("create", create+"--size 4 --volume-type gp3 --iops 4000 --throughput 200 --tag-specifications ResourceType=volume,Tags=[{Key=a,Value=b}]").keeps("volume", "VolumeId"),
		does("volume", "ec2 describe-volumes --volume-ids $volume").awaits("Volumes[0].State", "available"),
		does("by tag", "ec2 describe-volumes --filters Name=tag:a,Values=b Name=status,Values=available --query Volumes[].VolumeId"),
		does("no size", create),
		does("no zone", "ec2 create-volume --availability-zone us-east-1x --size 4"),
		does("no such type", create+"--size 4 --volume-type none"),
		does("io2 without a rate", create+"--size 4 --volume-type io2"),
		does("gp2 with throughput", create+"--size 4 --volume-type gp2 --throughput 200"),
		does("of no snapshot", create+"--snapshot-id snap-0123456789abcdef0"),
		does("snapshot", "ec2 create-snapshot --volume-id $volume --query [VolumeId,VolumeSize,Encrypted]"),
		does("snapshots", "ec2 describe-snapshots --filters Name=volume-id,Values=$volume --query Snapshots[].[SnapshotId,State]").
			awaits("[0][1]", "completed").keeps("snapshot", "[0][0]"),
		does("of the snapshot", create+"--snapshot-id $snapshot --query [Size,SnapshotId,VolumeType,Encrypted]"),
		does("smaller than the snapshot", create+"--snapshot-id $snapshot --size 2"),
		does("key without encryption", create+"--size 1 --kms-key-id alias/none"),
		does("encrypted", create+"--size 1 --encrypted").keeps("encrypted", "VolumeId"),
		does("encrypted volume", "ec2 describe-volumes --volume-ids $encrypted --query Volumes[].[Encrypted,State]").awaits("[0][1]", "available"),
		does("snapshot of the encrypted", "ec2 create-snapshot --volume-id $encrypted --query [Encrypted,VolumeSize]"),
		does("by default", "ec2 get-ebs-encryption-by-default"),
		does("enable by default", "ec2 enable-ebs-encryption-by-default"),
		does("by default, enabled", "ec2 get-ebs-encryption-by-default"),
		does("disable by default", "ec2 disable-ebs-encryption-by-default"),
		does("delete", "ec2 delete-volume --volume-id $volume"),
		does("delete again", "ec2 delete-volume --volume-id $volume"),
		does("delete malformed", "ec2 delete-volume --volume-id none"),
		does("deleted", "ec2 describe-volumes --volume-ids $volume"),
	}
}
