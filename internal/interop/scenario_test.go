package interop_test

// A step is one command line of the client.
type step struct {
	name string

	// args are the arguments after "ec2". $name stands for a captured value.
	args []string

	// capture takes values out of the answer, by path, for the steps after it.
	capture map[string]string

	// until repeats the step until the value at a path is this one, since
	// either EC2 may take its time. Only the last answer is compared.
	until map[string]string
}

const (
	canonical = "099720109477"
	baseName  = "ubuntu/images/hvm-ssd/ubuntu-xenial-16.04-amd64-server-20170721"
	baseText  = "Canonical, Ubuntu, 16.04 LTS, amd64 xenial image build on 2017-07-21"
	userData  = "#cloud-config\n{}\n"
)

// life is one life of an image, from the search for its source to the deletion
// of its snapshot, with the mistakes that a program may make on the way.
func life() []step {
	const instance = "Reservations[0].Instances[0]"
	return []step{
		{
			name: "find source",
			args: []string{
				"describe-images", "--owners", canonical,
				"--filters", "Name=name,Values=ubuntu/images/*/ubuntu-xenial-16.04-amd64-server-????????",
				"Name=root-device-type,Values=ebs", "Name=virtualization-type,Values=hvm", "Name=state,Values=available",
			},
			capture: map[string]string{"base": "Images[0].ImageId"},
		},
		{
			name: "find nothing",
			args: []string{"describe-images", "--owners", "self", "--filters", "Name=name,Values=no-such-image-*"},
		},
		{
			name: "unknown image",
			args: []string{"describe-images", "--image-ids", "ami-0123456789abcdef0"},
		},
		{
			name:    "default VPC",
			args:    []string{"describe-vpcs", "--filters", "Name=is-default,Values=true"},
			capture: map[string]string{"vpc": "Vpcs[0].VpcId"},
		},
		{
			name: "create group",
			args: []string{
				"create-security-group", "--group-name", "bake-1", "--description", "one bake", "--vpc-id", "$vpc",
				"--tag-specifications", "ResourceType=security-group,Tags=[{Key=build,Value=1},{Key=Name,Value=bake}]",
			},
			capture: map[string]string{"group": "GroupId"},
		},
		{
			name: "create group again",
			args: []string{"create-security-group", "--group-name", "bake-1", "--description", "one bake", "--vpc-id", "$vpc"},
		},
		{
			name: "authorize",
			args: []string{
				"authorize-security-group-ingress", "--group-id", "$group",
				"--ip-permissions", "IpProtocol=tcp,FromPort=22,ToPort=22,IpRanges=[{CidrIp=192.0.2.7/32,Description=the baker}]",
			},
		},
		{
			name: "authorize again",
			args: []string{
				"authorize-security-group-ingress", "--group-id", "$group",
				"--ip-permissions", "IpProtocol=tcp,FromPort=22,ToPort=22,IpRanges=[{CidrIp=192.0.2.7/32,Description=the baker}]",
			},
		},
		{
			name: "describe group",
			args: []string{"describe-security-groups", "--filters", "Name=group-id,Values=$group"},
		},
		{
			name: "dry run",
			args: []string{"run-instances", "--image-id", "$base", "--instance-type", "t3.micro", "--dry-run"},
		},
		{
			name: "run unknown image",
			args: []string{"run-instances", "--image-id", "ami-0123456789abcdef0", "--instance-type", "t3.micro"},
		},
		{
			name: "run",
			args: []string{
				"run-instances", "--image-id", "$base", "--instance-type", "t3.micro", "--security-group-ids", "$group",
				"--user-data", userData, "--instance-initiated-shutdown-behavior", "terminate",
				"--metadata-options", "HttpTokens=required,HttpEndpoint=enabled,HttpPutResponseHopLimit=1",
				"--tag-specifications", "ResourceType=instance,Tags=[{Key=build,Value=1},{Key=Name,Value=bake}]",
				"ResourceType=volume,Tags=[{Key=build,Value=1}]",
			},
			capture: map[string]string{"instance": "Instances[0].InstanceId"},
		},
		{
			name:    "running",
			args:    []string{"describe-instances", "--instance-ids", "$instance"},
			until:   map[string]string{instance + ".State.Name": "running"},
			capture: map[string]string{"volume": instance + ".BlockDeviceMappings[0].Ebs.VolumeId"},
		},
		{
			name: "instances by tag",
			args: []string{
				"describe-instances", "--filters", "Name=tag:build,Values=1", "Name=instance-state-name,Values=running",
				"--query", "Reservations[].Instances[].InstanceId",
			},
		},
		{
			name: "user data",
			args: []string{"describe-instance-attribute", "--instance-id", "$instance", "--attribute", "userData"},
		},
		{
			name: "volume",
			args: []string{"describe-volumes", "--volume-ids", "$volume"},
		},
		{
			name: "stop",
			args: []string{"stop-instances", "--instance-ids", "$instance"},
		},
		{
			name:  "stopped",
			args:  []string{"describe-instances", "--instance-ids", "$instance"},
			until: map[string]string{instance + ".State.Name": "stopped"},
		},
		{
			name: "create image",
			args: []string{
				"create-image", "--instance-id", "$instance", "--name", "baked 1", "--description", "what was baked",
				"--tag-specifications", "ResourceType=image,Tags=[{Key=build,Value=1},{Key=Name,Value=baked}]",
			},
			capture: map[string]string{"image": "ImageId"},
		},
		{
			name:    "available",
			args:    []string{"describe-images", "--image-ids", "$image"},
			until:   map[string]string{"Images[0].State": "available"},
			capture: map[string]string{"snapshot": "Images[0].BlockDeviceMappings[0].Ebs.SnapshotId"},
		},
		{
			name: "own images",
			args: []string{"describe-images", "--owners", "self", "--filters", "Name=name,Values=baked *", "--query", "Images[].[ImageId,Name,State]"},
		},
		{
			name:  "snapshot",
			args:  []string{"describe-snapshots", "--snapshot-ids", "$snapshot"},
			until: map[string]string{"Snapshots[0].State": "completed"},
		},
		{
			name: "tag",
			args: []string{"create-tags", "--resources", "$image", "$snapshot", "--tags", "Key=stage,Value=good", "Key=build,Value=2"},
		},
		{
			name: "tags of both",
			args: []string{"describe-tags", "--filters", "Name=resource-id,Values=$image,$snapshot"},
		},
		{
			name: "images by tag",
			args: []string{"describe-images", "--filters", "Name=tag:stage,Values=good", "Name=tag:build,Values=2", "--query", "Images[].ImageId"},
		},
		{
			name: "tag nothing",
			args: []string{"create-tags", "--resources", "ami-0123456789abcdef0", "--tags", "Key=stage,Value=good"},
		},
		{
			name: "share",
			args: []string{"modify-image-attribute", "--image-id", "$image", "--launch-permission", "Add=[{UserId=210987654321}]"},
		},
		{
			name: "shared",
			args: []string{"describe-image-attribute", "--image-id", "$image", "--attribute", "launchPermission"},
		},
		{
			name: "delete snapshot in use",
			args: []string{"delete-snapshot", "--snapshot-id", "$snapshot"},
		},
		{
			name: "deregister",
			args: []string{"deregister-image", "--image-id", "$image"},
		},
		{
			name: "deregistered",
			args: []string{"describe-images", "--owners", "self"},
		},
		{
			name: "deregister again",
			args: []string{"deregister-image", "--image-id", "$image"},
		},
		{
			name: "delete snapshot",
			args: []string{"delete-snapshot", "--snapshot-id", "$snapshot"},
		},
		{
			name: "delete snapshot again",
			args: []string{"delete-snapshot", "--snapshot-id", "$snapshot"},
		},
		{
			name: "delete group in use",
			args: []string{"delete-security-group", "--group-id", "$group"},
		},
		{
			name: "terminate",
			args: []string{"terminate-instances", "--instance-ids", "$instance"},
		},
		{
			name:  "terminated",
			args:  []string{"describe-instances", "--instance-ids", "$instance"},
			until: map[string]string{instance + ".State.Name": "terminated"},
		},
		{
			name: "volume gone",
			args: []string{"describe-volumes", "--volume-ids", "$volume"},
		},
		{
			name: "delete group",
			args: []string{"delete-security-group", "--group-id", "$group"},
		},
	}
}
