package interop_test

func lifeDifferences() []difference {
	out := imageDifferences()
	out = append(out, instanceDifferences()...)
	return append(out, []difference{
		{"default VPC", "Vpcs[0].Ipv6CidrBlockAssociationSet", "[]", absent, "AWS omits the empty set"},

		{"default VPC", "Vpcs[0].Tags", "[]", absent, "AWS omits the empty set"},

		{"create group", "Tags[?].*", absent, anything, "moto does not return the tags"},
		{"authorize", "SecurityGroupRules[0].GroupOwnerId", absent, "<account>", "moto's rules have no owner"},
		{"delete group in use", "error", absent, "DependencyViolation", "moto deletes a group in use"},
		{"delete group", "error", "InvalidGroup.NotFound", absent, "moto has deleted it already"},
		{"delete group", "*", absent, anything, "moto has deleted it already"},

		{"volume", "Volumes[0].Size", "8", "15", "moto's volumes do not get the size of their snapshot"},
		{"volume", "Volumes[0].SnapshotId", absent, "<snap>", "moto's root volumes have no snapshot"},
		{"volume", "Volumes[0].VolumeType", "gp2", "gp3", "moto's volumes do not get the type in the image"},
		{"volume", "Volumes[0].Iops", absent, "3000", "moto drops the performance of gp3"},
		{"volume", "Volumes[0].Throughput", absent, "125", "moto drops the performance of gp3"},
		{"volume", "Volumes[0].MultiAttachEnabled", absent, "false", "moto has no such field"},
		{"volume", "Volumes[0].Attachments[0].DeleteOnTermination", absent, "true", "moto has no such field"},

		{"snapshot", "Snapshots[0].Tags", "[]", absent, "AWS omits the empty set"},
		{"snapshot", "Snapshots[0].VolumeId", "<vol>", "$volume", "moto creates the snapshot from another volume"},
		{"snapshot", "Snapshots[0].CompletionTime", absent, "<time>", "moto has no such field"},
		{"snapshot", "Snapshots[0].FullSnapshotSizeInBytes", absent, anything, "moto has no such field"},
		{"snapshot", "Snapshots[0].StorageTier", absent, "standard", "moto has no such field"},
	}...)
}

func imageDifferences() []difference {
	const device = "Images[0].BlockDeviceMappings[0].Ebs."
	return []difference{
		// All images.
		{"*", device + "DeleteOnTermination", "false", "true", "moto has the same mapping for all images"},
		{"*", device + "VolumeType", "standard", "gp3", "moto has the same mapping for all images"},
		{"*", device + "Encrypted", absent, "false", "moto has no such field"},
		{"*", "Images[0].BootMode", "uefi", "uefi-preferred", "moto has the same boot mode for all images"},
		{"*", "Images[0].EnaSupport", absent, "true", "moto has no such field"},
		{"*", "Images[0].ImdsSupport", absent, "v2.0", "moto has no such field"},
		{"*", "Images[0].PlatformDetails", absent, "Linux/UNIX", "moto has it for few images"},
		{"*", "Images[0].UsageOperation", absent, "RunInstances", "moto has it for few images"},
		{"*", "Images[0].SriovNetSupport", absent, "simple", "moto does not return it"},
		{"*", "Images[0].ProductCodes", "[]", absent, "AWS omits the empty set"},

		// The vendor's image.
		{"find source", "Images[0].BlockDeviceMappings[?].*", absent, anything, "moto has no instance store devices"},
		{"find source", "Images[0].ImageLocation", "amazon/getting-started", "amazon/" + baseName, "moto has the same location for many images"},
		{"find source", "Images[0].Tags", "[]", absent, "AWS omits the empty set"},

		// The baked image.
		{"available", device + "Iops", absent, "3000", "moto drops the performance of gp3"},
		{"available", device + "Throughput", absent, "125", "moto drops the performance of gp3"},
		{"available", "Images[0].RootDeviceType", "standard", "ebs", "moto returns the volume's type"},
		{"available", "Images[0].DeregistrationProtection", absent, "disabled", "moto has no deregistration protection"},
		{"available", "Images[0].Hypervisor", absent, "xen", "moto has it only for vendors' images"},
		{"available", "Images[0].ImageLocation", absent, "<account>/baked 1", "moto has it only for vendors' images"},
		{"available", "Images[0].SourceImageId", absent, "$base", "moto has no such field"},
		{"available", "Images[0].SourceImageRegion", absent, "us-east-1", "moto has no such field"},
		{"deregister again", "error", "InvalidAMIID.Unavailable", "InvalidAMIID.NotFound", "ours forgets an image when it is deregistered"},
	}
}

func instanceDifferences() []difference {
	const (
		instance   = "*Instances[0]."
		networking = instance + "NetworkInterfaces[0]."
	)
	return []difference{
		// All responses.
		{"*", instance + "BootMode", absent, "uefi-preferred", "moto has no such field"},
		{"*", instance + "EnaSupport", absent, "true", "moto has no such field"},
		{"*", instance + "PlatformDetails", absent, "Linux/UNIX", "moto has no such field"},
		{"*", instance + "UsageOperation", absent, "RunInstances", "moto has no such field"},
		{"*", instance + "Placement.AvailabilityZoneId", absent, "use1-az6", "moto has no such field"},
		{"*", instance + "CapacityReservationSpecification.*", absent, "open", "moto has no such field"},
		{"*", instance + "EnclaveOptions.Enabled", absent, "false", "moto has no such field"},
		{"*", instance + "HibernationOptions", "{}", absent, "ours has no hibernation"},
		{"*", instance + "ProductCodes", "[]", absent, "ours has no product codes"},
		{"*", instance + "SriovNetSupport", "simple", absent, "AWS returns it only for some old types"},
		{"*", networking + "Attachment.DeleteOnTermination", "false", "true", "moto's interfaces outlive their instance"},
		{"*", networking + "Attachment.NetworkCardIndex", "0", absent, "ours has no network cards"},
		{"*", networking + "Description", "Primary network interface", "", "AWS has no default description"},
		{"*", networking + "Ipv6Addresses", "[]", absent, "ours has no IPv6"},
		{"*", networking + "*Association.IpOwnerId", "<account>", "amazon", "Amazon owns a public address unless it is elastic"},
		{"*", networking + "PrivateIpAddresses[0].PrivateDnsName", absent, "<name>", "moto has no such field"},

		// Single states.
		{"run", networking + "*Association.*", anything, absent, "AWS assigns a public address once the instance runs"},
		{"run", instance + "PublicDnsName", "<name>", "", "AWS assigns a public address once the instance runs"},
		{"run", instance + "PublicIpAddress", "<ip>", absent, "AWS assigns a public address once the instance runs"},
		{"run", instance + "StateReason.*", "", absent, "ours has no reason for pending; AWS has \"pending\""},
		{"running", instance + "StateReason.*", "", absent, "running instances have no state reason"},
		{"stopped", networking + "Association", "{}", absent, "stopped instances have no public address"},
		{"*ed", instance + "PublicDnsName", absent, "", "AWS returns an empty value"},
		{"*ed", instance + "StateTransitionReason", "User initiated (<time>)", "User initiated shutdown (<time>)", "ours is worded like StateReason"},

		// A terminated instance has no network, groups or addresses.
		{"terminated", networking + "*", anything, absent, "moto keeps the interfaces"},
		{"terminated", instance + "NetworkInterfaces", absent, "[]", "moto keeps the interfaces"},
		{"terminated", instance + "SecurityGroups[0].*", anything, absent, "moto keeps the groups"},
		{"terminated", instance + "SecurityGroups", absent, "[]", "moto keeps the groups"},
		{"terminated", instance + "PrivateDnsName", "<name>", "", "moto keeps the addresses"},
		{"terminated", instance + "PrivateIpAddress", "<ip>", absent, "moto keeps the addresses"},
		{"terminated", instance + "SubnetId", "<subnet>", absent, "moto keeps the network"},
		{"terminated", instance + "VpcId", "$vpc", absent, "moto keeps the network"},
	}
}
