package ec2test

// catalog holds what is the same for all calls: the filters of describe calls,
// and the instance types.
type catalog struct {
	regions     filters[regionXML]
	zones       filters[zoneXML]
	vpcs        filters[*vpc]
	subnets     filters[*subnet]
	gateways    filters[*internetGateway]
	routeTables filters[*routeTable]
	types       map[string]instanceType
	typeFilters filters[instanceType]
	offerings   filters[offering]
	images      filters[*image]
	snapshots   filters[*snapshot]
	volumes     filters[*volume]
	instances   filters[*instance]
	statuses    filters[*instance]
	groups      filters[*group]
	rules       filters[*rule]
	interfaces  filters[*eni]
	tags        filters[tagRecord]
	keyPairs    filters[*keyPair]
	templates   filters[*template]
	versions    filters[versionOf]

	spotRequests  filters[*spotRequest]
	fleets        filters[*fleet]
	members       filters[fleetMember]
	associations  filters[*profileAssociation]
	addresses     filters[*elasticIP]
	nats          filters[*natGateway]
	modifications filters[*volume]
	usageReports  filters[*usageReport]
	usageEntries  filters[usageEntry]
	locks         filters[*snapshot]
}

func newCatalog() catalog {
	return catalog{
		regions: regionFilters(), zones: zoneFilters(), vpcs: vpcFilters(), subnets: subnetFilters(),
		gateways: gatewayFilters(), routeTables: routeTableFilters(),
		types: instanceTypes(), typeFilters: typeFilters(), offerings: offeringFilters(),
		images: imageFilters(), snapshots: snapshotFilters(), volumes: volumeFilters(),
		instances: instanceFilters(), statuses: statusFilters(), groups: groupFilters(), rules: ruleFilters(),
		interfaces: interfaceFilters(), tags: tagFilters(), keyPairs: keyPairFilters(),
		templates: templateFilters(), versions: versionFilters(),
		spotRequests: spotFilters(), fleets: fleetFilters(), members: memberFilters(), usageReports: usageReportFilters(), associations: associationFilters(),
		addresses: elasticFilters(), nats: natFilters(), modifications: modificationFilters(),
		usageEntries: usageEntryFilters(), locks: lockFilters(),
	}
}

// actionTables returns the supported calls by service and name, except those of
// STS.
func actionTables(k *catalog) map[string]map[string]action {
	return map[string]map[string]action{
		"autoscaling": scalingTable(),
		"ebs":         ebsTable(),
		"ec2":         ec2Table(k),
		"iam":         iamTable(),
		"kms":         kmsTable(),
		"rbin":        rbinTable(),
		"ssm":         ssmTable(),
	}
}

// ec2Table returns the calls of EC2 by name.
func ec2Table(k *catalog) map[string]action {
	return tableOf(append(networkActions(k),
		handle("DescribeRegions", (*call).describeRegions, k.regions.names(false)...),
		handle("DescribeAvailabilityZones", (*call).describeZones, k.zones.names(false)...),
		handle("DescribeInstanceTypes", (*call).describeTypes, k.typeFilters.names(false)...),
		handle("DescribeInstanceTypeOfferings", (*call).describeOfferings, k.offerings.names(false)...),

		handle("DescribeImages", (*call).describeImages, k.images.names(true)...),
		handle("DescribeImageAttribute", (*call).describeImageAttribute),
		handle("ModifyImageAttribute", (*call).modifyImageAttribute),
		handle("ResetImageAttribute", (*call).resetImageAttribute),
		handle("CancelImageLaunchPermission", (*call).cancelLaunchPermission),
		handle("CreateImage", (*call).createImage),
		handle("RegisterImage", (*call).registerImage),
		handle("CopyImage", (*call).copyImage),
		handle("DeregisterImage", (*call).deregisterImage),
		handle("EnableImageDeprecation", (*call).enableImageDeprecation),
		handle("DisableImageDeprecation", (*call).disableImageDeprecation),
		handle("EnableImage", (*call).enableImage),
		handle("DisableImage", (*call).disableImage),
		handle("EnableImageDeregistrationProtection", (*call).enableProtection),
		handle("DisableImageDeregistrationProtection", (*call).disableProtection),

		handle("DescribeSnapshots", (*call).describeSnapshots, k.snapshots.names(true)...),
		handle("CreateSnapshot", (*call).createSnapshot),
		handle("CreateSnapshots", (*call).createSnapshots),
		handle("CopySnapshot", (*call).copySnapshot),
		handle("DeleteSnapshot", (*call).deleteSnapshot),
		handle("ModifySnapshotAttribute", (*call).modifySnapshotAttribute),
		handle("DescribeSnapshotAttribute", (*call).describeSnapshotAttribute),
		handle("ResetSnapshotAttribute", (*call).resetSnapshotAttribute),

		handle("DescribeVolumes", (*call).describeVolumes, k.volumes.names(true)...),
		handle("CreateVolume", (*call).createVolume),
		handle("DeleteVolume", (*call).deleteVolume),
		handle("AttachVolume", (*call).attachVolume),
		handle("DetachVolume", (*call).detachVolume),
		handle("ModifyVolume", (*call).modifyVolume),
		handle("DescribeVolumesModifications", (*call).describeModifications, k.modifications.names(false)...),

		handle("GetImageBlockPublicAccessState", (*call).getImageBlock),
		handle("EnableImageBlockPublicAccess", (*call).enableImageBlock),
		handle("DisableImageBlockPublicAccess", (*call).disableImageBlock),
		handle("GetSnapshotBlockPublicAccessState", (*call).getSnapshotBlock),
		handle("EnableSnapshotBlockPublicAccess", (*call).enableSnapshotBlock),
		handle("DisableSnapshotBlockPublicAccess", (*call).disableSnapshotBlock),

		handle("GetEbsEncryptionByDefault", (*call).getEncryption),
		handle("EnableEbsEncryptionByDefault", (*call).enableEncryption),
		handle("DisableEbsEncryptionByDefault", (*call).disableEncryption),
		handle("GetEbsDefaultKmsKeyId", (*call).getDefaultKey),
		handle("ModifyEbsDefaultKmsKeyId", (*call).modifyDefaultKey),
		handle("ResetEbsDefaultKmsKeyId", (*call).resetDefaultKey),

		handle("RunInstances", (*call).runInstances),
		handle("DescribeInstances", (*call).describeInstances, k.instances.names(true)...),
		handle("DescribeInstanceStatus", (*call).describeInstanceStatus, k.statuses.names(true)...),
		handle("DescribeInstanceAttribute", (*call).describeInstanceAttribute),
		handle("ModifyInstanceAttribute", (*call).modifyInstanceAttribute),
		handle("ModifyInstanceMetadataOptions", (*call).modifyMetadataOptions),
		handle("MonitorInstances", (*call).monitorInstances),
		handle("UnmonitorInstances", (*call).unmonitorInstances),
		handle("StopInstances", (*call).stopInstances),
		handle("StartInstances", (*call).startInstances),
		handle("RebootInstances", (*call).rebootInstances),
		handle("TerminateInstances", (*call).terminateInstances),
		handle("GetConsoleOutput", (*call).getConsole),
		handle("DescribeIamInstanceProfileAssociations", (*call).describeAssociations, k.associations.names(false)...),
		handle("AssociateIamInstanceProfile", (*call).associateProfile),
		handle("ReplaceIamInstanceProfileAssociation", (*call).replaceProfile),
		handle("DisassociateIamInstanceProfile", (*call).disassociateProfile),
		handle("GetLaunchTemplateData", (*call).instanceTemplate),

		handle("CreateTags", (*call).createTags),
		handle("DeleteTags", (*call).deleteTags),
		handle("DescribeTags", (*call).describeTags, append(k.tags.names(false), "tag:<key>")...),

		handle("DescribeKeyPairs", (*call).describeKeyPairs, k.keyPairs.names(true)...),
		handle("CreateKeyPair", (*call).createKeyPair),
		handle("ImportKeyPair", (*call).importKeyPair),
		handle("DeleteKeyPair", (*call).deleteKeyPair),

		handle("DescribeLaunchTemplates", (*call).describeTemplates, k.templates.names(true)...),
		handle("DescribeLaunchTemplateVersions", (*call).describeTemplateVersions, k.versions.names(false)...),
		handle("CreateLaunchTemplate", (*call).createTemplate),
		handle("CreateLaunchTemplateVersion", (*call).createTemplateVersion),
		handle("ModifyLaunchTemplate", (*call).modifyTemplate),
		handle("DeleteLaunchTemplate", (*call).deleteTemplate),
		handle("DeleteLaunchTemplateVersions", (*call).deleteTemplateVersions),

		handle("RequestSpotInstances", (*call).requestSpot),
		handle("DescribeSpotInstanceRequests", (*call).describeSpot, k.spotRequests.names(true)...),
		handle("CancelSpotInstanceRequests", (*call).cancelSpot),
		handle("RequestSpotFleet", (*call).requestSpotFleet),
		handle("DescribeSpotFleetInstances", (*call).describeSpotFleetInstances),
		handle("ModifySpotFleetRequest", (*call).modifySpotFleet),
		handle("DescribeSpotFleetRequests", (*call).describeSpotFleets),
		handle("CancelSpotFleetRequests", (*call).cancelSpotFleets),
		handle("CreateFleet", (*call).createFleet),
		handle("DescribeFleets", (*call).describeFleets, k.fleets.names(true)...),
		handle("DescribeFleetInstances", (*call).describeFleetInstances, k.members.names(false)...),
		handle("ModifyFleet", (*call).modifyFleet),
		handle("DeleteFleets", (*call).deleteFleets),

		handle("DescribeImageReferences", (*call).describeImageReferences),
		handle("CreateImageUsageReport", (*call).createUsageReport),
		handle("DescribeImageUsageReports", (*call).describeUsageReports, k.usageReports.names(true)...),
		handle("DescribeImageUsageReportEntries", (*call).describeUsageEntries, k.usageEntries.names(false)...),
		handle("DeleteImageUsageReport", (*call).deleteUsageReport),

		handle("ListImagesInRecycleBin", (*call).listImagesInBin),
		handle("RestoreImageFromRecycleBin", (*call).restoreImage),
		handle("ListSnapshotsInRecycleBin", (*call).listSnapshotsInBin),
		handle("RestoreSnapshotFromRecycleBin", (*call).restoreSnapshot),
		handle("LockSnapshot", (*call).lockSnapshot),
		handle("UnlockSnapshot", (*call).unlockSnapshot),
		handle("DescribeLockedSnapshots", (*call).describeLocks, k.locks.names(false)...),
	)...)
}

func tableOf(list ...action) map[string]action {
	table := make(map[string]action, len(list))
	for _, a := range list {
		table[a.name] = a
	}
	return table
}
