package ec2test

// usageActions are the calls of EC2 about what uses images besides instances
// and launch templates, and about what becomes of images that were removed.
func (s *Server) usageActions() []action {
	k := &s.known
	return []action{
		handle("RequestSpotInstances", (*call).requestSpot),
		handle("DescribeSpotInstanceRequests", (*call).describeSpot, k.spotRequests.names(true)...),
		handle("CancelSpotInstanceRequests", (*call).cancelSpot),
		handle("RequestSpotFleet", (*call).requestSpotFleet),
		handle("DescribeSpotFleetRequests", (*call).describeSpotFleets),
		handle("CancelSpotFleetRequests", (*call).cancelSpotFleets),
		handle("CreateFleet", (*call).createFleet),
		handle("DescribeFleets", (*call).describeFleets, k.fleets.names(true)...),
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
	}
}
