package interop_test

import "slices"

func imagesDifferences() []difference {
	const (
		names    = "moto does not look at the names of images"
		ids      = "moto does not look at the form of ids"
		instant  = "moto's snapshots are complete at once"
		rootDisk = "moto's volumes do not take the size of their snapshot"
		missing  = "moto has not got the call"
	)
	return slices.Concat([]difference{
		{"*block*", "error", broken, absent, missing},
		{"*block*", "ImageBlockPublicAccessState", absent, anything, missing},
		{"block state", "ManagedBy", absent, "account", missing},
		{"snapshot", "FullSnapshotSizeInBytes", absent, anything, "moto has no such field"},
		{"snapshot", "StorageTier", absent, "standard", "moto has no such field"},
		{"snapshot", "Progress", "100%", "", instant},
		{"snapshot", "State", "completed", "pending", instant},
		{"snapshot", "VolumeSize", "8", "15", rootDisk},
		{"snapshots of an instance", "Snapshots[0].Progress", "100%", "", instant},
		{"snapshots of an instance", "Snapshots[0].State", absent, "pending", instant},
		{"snapshots of an instance", "Snapshots[0].VolumeSize", "8", "15", rootDisk},
		otherCode("malformed snapshot", "InvalidSnapshot.NotFound", "InvalidSnapshotID.Malformed", ids),
		otherCode("malformed image", "InvalidAMIID.NotFound", "InvalidAMIID.Malformed", ids),
		otherCode("deregister malformed", "InvalidAMIID.NotFound", "InvalidAMIID.Malformed", ids),
		otherCode("terminate malformed", "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed", ids),
		otherCode("copy from nowhere", broken, "InvalidParameterValue", "moto falls over a region that does not exist"),
		{"described", "Description.Value", "", "text", "moto does not keep the description"},
		{"copied", "[0][?]", "<nil>", anything, "moto's copies know neither their architecture nor their source"},
		{"copied snapshot", "[0][4]", "8", "15", rootDisk},
		{"reset", "error", broken, absent, missing},
		{"reset snapshot", "error", broken, absent, missing},
	},
		refused("register bad name", "InvalidAMIName.Malformed", names),
		refused("register again", "InvalidAMIName.Duplicate", names),
		refused("create image of a taken name", "InvalidAMIName.Duplicate", names),
		refused("copy of a taken name", "InvalidAMIName.Duplicate", names),
	)
}

func disksDifferences() []difference {
	const (
		form   = "moto has no such field"
		unseen = "moto does not look at it"
	)
	return slices.Concat([]difference{
		{"create", "MultiAttachEnabled", absent, "false", form},
		{"create", "SnapshotId", absent, "", "AWS says that there is none"},
		{"volume", "Volumes[0].MultiAttachEnabled", absent, "false", form},
		{"volume", "Volumes[0].SnapshotId", absent, "", "AWS says that there is none"},
		{"encrypted", "MultiAttachEnabled", absent, "false", form},
		{"encrypted", "SnapshotId", absent, "", "AWS says that there is none"},
		{"encrypted", "Iops", absent, "100", "moto does not know the performance of gp2"},
		{"encrypted", "Tags", absent, "[]", "AWS says that there are none"},
		otherCode("io2 without a rate", "InvalidParameterDependency", "InvalidParameterCombination", "AWS has this code"),
		otherCode("gp2 with throughput", "InvalidParameterDependency", "InvalidParameterCombination", "AWS has this code"),
		otherCode("delete malformed", "InvalidVolume.NotFound", "InvalidVolumeID.Malformed", "moto does not look at the form of ids"),
	},
		refused("no zone", "InvalidZone.NotFound", unseen),
		refused("no such type", "UnknownVolumeType", unseen),
		refused("smaller than the snapshot", "InvalidParameterValue", unseen),
	)
}
