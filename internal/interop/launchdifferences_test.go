package interop_test

import "slices"

func templatesDifferences() []difference {
	const order = "moto lists the oldest version first"
	return slices.Concat([]difference{
		{"versions", "LaunchTemplateVersions[?].DefaultVersion", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].LaunchTemplateData.InstanceType", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].VersionDescription", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].VersionNumber", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].LaunchTemplateData.TagSpecifications*", anything, absent, "moto mistakes the tags of the template for those of what it launches"},
		{"delete", "LaunchTemplate.*", absent, anything, "moto answers with less"},
		otherCode("delete again", "InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound", "moto has the code of a name for an id"),
	},
		refused("unknown", "InvalidLaunchTemplateId.NotFound", "moto answers with nothing"),
	)
}

func requestsDifferences() []difference {
	const (
		taken  = "moto makes it anew"
		rushes = "moto grants the request at once; ours keeps it open and runs nothing"
		of     = "SpotInstanceRequests[0]."
	)
	return slices.Concat([]difference{
		{"delete fleet", "error", "InvalidParameterCombination", absent, "moto deletes no fleet without instances"},
		{"delete fleet", "*", absent, anything, "moto deletes no fleet without instances"},
		otherCode("cancel nothing", broken, "InvalidSpotInstanceRequestID.NotFound", "moto falls over a request that is not there"),
		{"configuration again", "error", absent, "AlreadyExists", taken},
		{"group again", "error", absent, "AlreadyExists", taken},
		{"configuration in use", "error", absent, "ResourceInUse", "moto deletes what is in use"},
		{"request", of + "InstanceId", "<i>", absent, rushes},
		{"request", of + "State", "active", "open", rushes},
		{"request", of + "Status.*", anything, anything, rushes},
		{"requested", "[0][0]", "active", "open", rushes},
		{"request", of + "LaunchSpecification.Monitoring", "{}", absent, "AWS says whether it is enabled"},
		{"request", of + "LaunchSpecification.Monitoring.Enabled", absent, "false", "AWS says whether it is enabled"},
		{"request", of + "LaunchSpecification.SecurityGroups", absent, "[]", "ours knows the groups of what it runs only"},
		{"request", of + "LaunchSpecification.SecurityGroups[0].*", anything, absent, "ours knows the groups of what it runs only"},
	},
		refused("unknown request", "InvalidSpotInstanceRequestID.NotFound", "moto answers with nothing"),
	)
}

func servicesDifferences() []difference {
	return slices.Concat([]difference{
		{"key of EBS", "[4]", "CUSTOMER", "AWS", "moto takes AWS's key for one of the account's"},
		otherCode("remove again", broken, "NoSuchEntity", "moto falls over a role that is not there"),
	},
		refused("assume nothing", "ValidationError", "moto assumes any role"),
		refused("malformed role", "MalformedPolicyDocument", "moto does not read the document"),
	)
}
