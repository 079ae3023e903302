package interop_test

func lifeDifferences() []difference {
	out := imageDifferences()
	out = append(out, instanceDifferences()...)
	return append(out, []difference{
		{"default VPC", "Vpcs[0].CidrBlockAssociationSet[0].*", anything, absent, "ours has one CIDR block, in CidrBlock only"},
		{"default VPC", "Vpcs[0].Ipv6CidrBlockAssociationSet", "[]", absent, "AWS leaves the empty set out"},

		{"create group", "Tags[?].*", absent, anything, "moto does not answer with the tags"},
		{"authorize", "SecurityGroupRules[0].GroupOwnerId", absent, "<account>", "moto has no owner of a rule"},
		{"delete group in use", "error", absent, "DependencyViolation", "moto deletes a group in use"},
		{"delete group", "error", "InvalidGroup.NotFound", absent, "moto has deleted it already"},
		{"delete group", "*", absent, anything, "moto has deleted it already"},

		{"volume", "Volumes[0].Size", "8", "15", "moto's volumes do not take the size of their snapshot"},
		{"volume", "Volumes[0].SnapshotId", absent, "<snap>", "moto's root volumes come from no snapshot"},
		{"volume", "Volumes[0].VolumeType", "gp2", "gp3", "moto's volumes do not take the type in the image"},
		{"volume", "Volumes[0].Iops", absent, "3000", "moto drops the performance of gp3"},
		{"volume", "Volumes[0].Throughput", absent, "125", "moto drops the performance of gp3"},
		{"volume", "Volumes[0].MultiAttachEnabled", absent, "false", "moto has no such field"},
		{"volume", "Volumes[0].Attachments[0].DeleteOnTermination", absent, "true", "moto has no such field"},

		{"snapshot", "Snapshots[0].VolumeId", "<vol>", "$volume", "moto makes the snapshot of a volume of its own"},
		{"snapshot", "Snapshots[0].CompletionTime", absent, "<time>", "moto has no such field"},
		{"snapshot", "Snapshots[0].FullSnapshotSizeInBytes", absent, anything, "moto has no such field"},
		{"snapshot", "Snapshots[0].StorageTier", absent, "standard", "moto has no such field"},
	}...)
}

func imageDifferences() []difference {
	const device = "Images[0].BlockDeviceMappings[0].Ebs."
	return []difference{
		// Of every image.
		{"*", device + "DeleteOnTermination", "false", "true", "moto knows one mapping for all images"},
		{"*", device + "VolumeType", "standard", "gp3", "moto knows one mapping for all images"},
		{"*", device + "Encrypted", absent, "false", "moto has no such field"},
		{"*", "Images[0].BootMode", "uefi", "uefi-preferred", "moto knows one boot mode for all images"},
		{"*", "Images[0].EnaSupport", absent, "true", "moto has no such field"},
		{"*", "Images[0].ImdsSupport", absent, "v2.0", "moto has no such field"},
		{"*", "Images[0].PlatformDetails", absent, "Linux/UNIX", "moto knows it of few images"},
		{"*", "Images[0].UsageOperation", absent, "RunInstances", "moto knows it of few images"},
		{"*", "Images[0].SriovNetSupport", absent, "simple", "moto knows it and does not say it"},
		{"*", "Images[0].ProductCodes", "[]", absent, "AWS leaves the empty set out"},

		// Of the vendor's.
		{"find source", "Images[0].BlockDeviceMappings[?].*", absent, anything, "moto has no devices of the instance store"},
		{"find source", "Images[0].ImageLocation", "amazon/getting-started", canonical + "/" + baseName, "moto's is the same for many images"},
		{"find source", "Images[0].ImageOwnerAlias", "amazon", absent, "ours gives an alias to Amazon's images only"},

		// Of the baked one.
		{"available", device + "Iops", absent, "3000", "moto drops the performance of gp3"},
		{"available", device + "Throughput", absent, "125", "moto drops the performance of gp3"},
		{"available", "Images[0].RootDeviceType", "standard", "ebs", "moto mistakes the type of the volume for that of the device"},
		{"available", "Images[0].DeregistrationProtection", absent, "disabled", "moto has no protection of images"},
		{"available", "Images[0].Hypervisor", absent, "xen", "moto knows it of vendors' images only"},
		{"available", "Images[0].ImageLocation", absent, "<account>/baked 1", "moto knows it of vendors' images only"},
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
		// In every answer.
		{"*", instance + "BootMode", absent, "uefi-preferred", "moto has no such field"},
		{"*", instance + "EnaSupport", absent, "true", "moto has no such field"},
		{"*", instance + "PlatformDetails", absent, "Linux/UNIX", "moto has no such field"},
		{"*", instance + "UsageOperation", absent, "RunInstances", "moto has no such field"},
		{"*", instance + "Placement.AvailabilityZoneId", absent, "use1-az1", "moto has no such field"},
		{"*", instance + "CapacityReservationSpecification.*", absent, "open", "moto has no such field"},
		{"*", instance + "EnclaveOptions.Enabled", absent, "false", "moto has no such field"},
		{"*", instance + "Licenses", absent, "[]", "moto has no such field"},
		{"*", instance + "HibernationOptions", "{}", absent, "ours has no hibernation"},
		{"*", instance + "ProductCodes", "[]", absent, "ours has no product codes"},
		{"*", instance + "SriovNetSupport", "simple", absent, "AWS says it of some old types only"},
		{"*", networking + "Attachment.DeleteOnTermination", "false", "true", "moto's interfaces outlive their instance"},
		{"*", networking + "Attachment.NetworkCardIndex", "0", absent, "ours has no network cards"},
		{"*", networking + "Description", "Primary network interface", "", "AWS describes the first interface only when asked to"},
		{"*", networking + "Ipv6Addresses", "[]", absent, "ours has no IPv6"},
		{"*", networking + "*Association.IpOwnerId", "<account>", "amazon", "a public address belongs to Amazon unless it is elastic"},
		{"*", networking + "PrivateIpAddresses[0].PrivateDnsName", absent, "<name>", "moto has no such field"},

		// Of one state.
		{"run", networking + "*Association.*", anything, absent, "AWS gives a public address to what runs"},
		{"run", instance + "PublicDnsName", "<name>", "", "AWS gives a public address to what runs"},
		{"run", instance + "PublicIpAddress", "<ip>", absent, "AWS gives a public address to what runs"},
		{"run", instance + "StateReason.*", "", absent, "ours gives no reason for pending; AWS says \"pending\""},
		{"running", instance + "StateReason.*", "", absent, "a running instance has no reason for it"},
		{"stopped", networking + "Association", "{}", absent, "an instance that is stopped has no public address"},
		{"*ed", instance + "PublicDnsName", absent, "", "AWS says that there is none"},
		{"*ed", instance + "StateTransitionReason", "User initiated (<time>)", "User initiated shutdown (<time>)", "ours is worded as StateReason is"},

		// A terminated instance has nothing that it was connected to.
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
