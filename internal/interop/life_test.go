package interop_test

const (
	canonical = "099720109477"
	baseName  = "ubuntu/images/hvm-ssd/ubuntu-xenial-16.04-amd64-server-20170721"
	baseText  = "Canonical, Ubuntu, 16.04 LTS, amd64 xenial image build on 2017-07-21"
	userData  = "#cloud-config\n{}\n"
)

// life covers the lifecycle of an image, from the search for its base image to
// the deletion of its snapshot, including errors.
func life() []step {
	const instance = "Reservations[0].Instances[0]"
	return []step{
		{
			name: "find source",
			args: []string{
				"ec2", "describe-images", "--owners", canonical,
				"--filters", "Name=name,Values=ubuntu/images/*/ubuntu-xenial-16.04-amd64-server-????????",
				"Name=root-device-type,Values=ebs", "Name=virtualization-type,Values=hvm", "Name=state,Values=available",
			},
			capture: map[string]string{"base": "Images[0].ImageId"},
		},
		{
			name: "find nothing",
			args: []string{"ec2", "describe-images", "--owners", "self", "--filters", "Name=name,Values=no-such-image-*"},
		},
		{
			name: "unknown image",
			args: []string{"ec2", "describe-images", "--image-ids", "ami-0123456789abcdef0"},
		},
		{
			name:    "default VPC",
			args:    []string{"ec2", "describe-vpcs", "--filters", "Name=is-default,Values=true"},
			capture: map[string]string{"vpc": "Vpcs[0].VpcId"},
		},
		{
			name: "create group",
			args: []string{
				"ec2", "create-security-group", "--group-name", "bake-1", "--description", "one bake", "--vpc-id", "$vpc",
				"--tag-specifications", "ResourceType=security-group,Tags=[{Key=build,Value=1},{Key=Name,Value=bake}]",
			},
			capture: map[string]string{"group": "GroupId"},
		},
		{
			name: "create group again",
			args: []string{"ec2", "create-security-group", "--group-name", "bake-1", "--description", "one bake", "--vpc-id", "$vpc"},
		},
		{
			name: "authorize",
			args: []string{
				"ec2", "authorize-security-group-ingress", "--group-id", "$group",
				"--ip-permissions", "IpProtocol=tcp,FromPort=22,ToPort=22,IpRanges=[{CidrIp=192.0.2.7/32,Description=the baker}]",
			},
		},
		{
			name: "authorize again",
			args: []string{
				"ec2", "authorize-security-group-ingress", "--group-id", "$group",
				"--ip-permissions", "IpProtocol=tcp,FromPort=22,ToPort=22,IpRanges=[{CidrIp=192.0.2.7/32,Description=the baker}]",
			},
		},
		{
			name: "describe group",
			args: []string{"ec2", "describe-security-groups", "--filters", "Name=group-id,Values=$group"},
		},
		{
			name: "dry run",
			args: []string{"ec2", "run-instances", "--image-id", "$base", "--instance-type", "t3.micro", "--dry-run"},
		},
		{
			name: "run unknown image",
			args: []string{"ec2", "run-instances", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro"},
		},
		{
			name: "run",
			args: []string{
				"ec2", "run-instances", "--image-id", "$base", "--instance-type", "t3.micro", "--security-group-ids", "$group",
				"--user-data", userData, "--instance-initiated-shutdown-behavior", "terminate",
				"--metadata-options", "HttpTokens=required,HttpEndpoint=enabled,HttpPutResponseHopLimit=1",
				"--tag-specifications", "ResourceType=instance,Tags=[{Key=build,Value=1},{Key=Name,Value=bake}]",
				"ResourceType=volume,Tags=[{Key=build,Value=1}]",
			},
			capture: map[string]string{"instance": "Instances[0].InstanceId"},
		},
		{
			name:    "running",
			args:    []string{"ec2", "describe-instances", "--instance-ids", "$instance"},
			until:   map[string]string{instance + ".State.Name": "running"},
			capture: map[string]string{"volume": instance + ".BlockDeviceMappings[0].Ebs.VolumeId"},
		},
		{
			name: "instances by tag",
			args: []string{
				"ec2", "describe-instances", "--filters", "Name=tag:build,Values=1", "Name=instance-state-name,Values=running",
				"--query", "Reservations[].Instances[].InstanceId",
			},
		},
		{
			name: "user data",
			args: []string{"ec2", "describe-instance-attribute", "--instance-id", "$instance", "--attribute", "userData"},
		},
		{
			name: "volume",
			args: []string{"ec2", "describe-volumes", "--volume-ids", "$volume"},
		},
		{
			name: "stop",
			args: []string{"ec2", "stop-instances", "--instance-ids", "$instance"},
		},
		{
			name:  "stopped",
			args:  []string{"ec2", "describe-instances", "--instance-ids", "$instance"},
			until: map[string]string{instance + ".State.Name": "stopped"},
		},
		{
			name: "create image",
			args: []string{
				"ec2", "create-image", "--instance-id", "$instance", "--name", "baked 1", "--description", "what was baked",
				"--tag-specifications", "ResourceType=image,Tags=[{Key=build,Value=1},{Key=Name,Value=baked}]",
			},
			capture: map[string]string{"image": "ImageId"},
		},
		{
			name:    "available",
			args:    []string{"ec2", "describe-images", "--image-ids", "$image"},
			until:   map[string]string{"Images[0].State": "available"},
			capture: map[string]string{"snapshot": "Images[0].BlockDeviceMappings[0].Ebs.SnapshotId"},
		},
		{
			name: "own images",
			args: []string{"ec2", "describe-images", "--owners", "self", "--filters", "Name=name,Values=baked *", "--query", "Images[].[ImageId,Name,State]"},
		},
		{
			name:  "snapshot",
			args:  []string{"ec2", "describe-snapshots", "--snapshot-ids", "$snapshot"},
			until: map[string]string{"Snapshots[0].State": "completed"},
		},
		{
			name: "tag",
			args: []string{"ec2", "create-tags", "--resources", "$image", "$snapshot", "--tags", "Key=stage,Value=good", "Key=build,Value=2"},
		},
		{
			name: "tags of both",
			args: []string{"ec2", "describe-tags", "--filters", "Name=resource-id,Values=$image,$snapshot"},
		},
		{
			name: "images by tag",
			args: []string{"ec2", "describe-images", "--filters", "Name=tag:stage,Values=good", "Name=tag:build,Values=2", "--query", "Images[].ImageId"},
		},
		{
			name: "tag nothing",
			args: []string{"ec2", "create-tags", "--resources", "ami-0123456789abcdef0", "--tags", "Key=stage,Value=good"},
		},
		{
			name: "share",
			args: []string{"ec2", "modify-image-attribute", "--image-id", "$image", "--launch-permission", "Add=[{UserId=210987654321}]"},
		},
		{
			name: "shared",
			args: []string{"ec2", "describe-image-attribute", "--image-id", "$image", "--attribute", "launchPermission"},
		},
		{
			name: "delete snapshot in use",
			args: []string{"ec2", "delete-snapshot", "--snapshot-id", "$snapshot"},
		},
		{
			name: "deregister",
			args: []string{"ec2", "deregister-image", "--image-id", "$image"},
		},
		{
			name: "deregistered",
			args: []string{"ec2", "describe-images", "--owners", "self"},
		},
		{
			name: "deregister again",
			args: []string{"ec2", "deregister-image", "--image-id", "$image"},
		},
		{
			name: "delete snapshot",
			args: []string{"ec2", "delete-snapshot", "--snapshot-id", "$snapshot"},
		},
		{
			name: "delete snapshot again",
			args: []string{"ec2", "delete-snapshot", "--snapshot-id", "$snapshot"},
		},
		{
			name: "delete group in use",
			args: []string{"ec2", "delete-security-group", "--group-id", "$group"},
		},
		{
			name: "terminate",
			args: []string{"ec2", "terminate-instances", "--instance-ids", "$instance"},
		},
		{
			name:  "terminated",
			args:  []string{"ec2", "describe-instances", "--instance-ids", "$instance"},
			until: map[string]string{instance + ".State.Name": "terminated"},
		},
		{
			name: "volume gone",
			args: []string{"ec2", "describe-volumes", "--volume-ids", "$volume"},
		},
		{
			name: "delete group",
			args: []string{"ec2", "delete-security-group", "--group-id", "$group"},
		},
	}
}
