package interop_test

import "slices"

func imagesDifferences() []difference {
	const (
		names    = "moto does not validate image names"
		ids      = "moto does not validate ids"
		instant  = "moto's snapshots are complete immediately"
		rootDisk = "moto's volumes do not get the size of their snapshot"
		missing  = "moto does not implement the call"
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
		otherCode("copy from nowhere", broken, "InvalidParameterValue", "moto fails for a region that does not exist"),
		{"described", "Description.Value", "", "text", "moto does not keep the description"},
		{"copied", "[0][?]", "<nil>", anything, "moto's copies have neither architecture nor source"},
		{"copied snapshot", "[0][4]", "8", "15", rootDisk},
		{"reset", "error", broken, absent, missing},
		{"reset snapshot", "error", broken, absent, missing},
	},
		rejected("register bad name", "InvalidAMIName.Malformed", names),
		rejected("register again", "InvalidAMIName.Duplicate", names),
		rejected("create image of a taken name", "InvalidAMIName.Duplicate", names),
		rejected("copy of a taken name", "InvalidAMIName.Duplicate", names),
	)
}

func disksDifferences() []difference {
	const (
		form   = "moto has no such field"
		unseen = "moto does not validate it"
	)
	return slices.Concat([]difference{
		{"create", "MultiAttachEnabled", absent, "false", form},
		{"create", "SnapshotId", absent, "", "AWS returns an empty value"},
		{"volume", "Volumes[0].MultiAttachEnabled", absent, "false", form},
		{"volume", "Volumes[0].SnapshotId", absent, "", "AWS returns an empty value"},
		{"encrypted", "MultiAttachEnabled", absent, "false", form},
		{"encrypted", "SnapshotId", absent, "", "AWS returns an empty value"},
		{"encrypted", "Iops", absent, "100", "moto lacks the performance of gp2"},
		{"create", "State", "available", "creating", "moto's volumes are available immediately"},
		{"encrypted", "State", "available", "creating", "moto's volumes are available immediately"},
		otherCode("io2 without a rate", "InvalidParameterDependency", "InvalidParameterCombination", "AWS has this code"),
		otherCode("gp2 with throughput", "InvalidParameterDependency", "InvalidParameterCombination", "AWS has this code"),
		otherCode("delete malformed", "InvalidVolume.NotFound", "InvalidVolumeID.Malformed", "moto does not validate ids"),
	},
		rejected("no zone", "InvalidZone.NotFound", unseen),
		rejected("no such type", "UnknownVolumeType", unseen),
		rejected("smaller than the snapshot", "InvalidParameterValue", unseen),
	)
}
