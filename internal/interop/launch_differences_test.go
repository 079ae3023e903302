package interop_test

import "slices"

func templatesDifferences() []difference {
	const order = "moto lists the oldest version first"
	return slices.Concat([]difference{
		{"versions", "LaunchTemplateVersions[?].DefaultVersion", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].LaunchTemplateData.InstanceType", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].VersionDescription", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].VersionNumber", anything, anything, order},
		{"versions", "LaunchTemplateVersions[?].LaunchTemplateData.TagSpecifications*", anything, absent, "moto confuses the template's tags with those of the launched instances"},
		{"delete", "LaunchTemplate.*", absent, anything, "moto's response is incomplete"},
		otherCode("delete again", "InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound", "moto uses the code for a name"),
	},
		rejected("unknown", "InvalidLaunchTemplateId.NotFound", "moto returns an empty list"),
	)
}

func requestsDifferences() []difference {
	const (
		taken  = "moto creates it again"
		rushes = "moto grants the request immediately; ours keeps it open and runs nothing"
		of     = "SpotInstanceRequests[0]."
	)
	return slices.Concat([]difference{
		{"delete fleet", "error", "InvalidParameterCombination", absent, "moto deletes no fleet without instances"},
		{"delete fleet", "*", absent, anything, "moto deletes no fleet without instances"},
		otherCode("cancel nothing", broken, "InvalidSpotInstanceRequestID.NotFound", "moto fails for an unknown request"),
		{"configuration again", "error", absent, "AlreadyExists", taken},
		{"group again", "error", absent, "AlreadyExists", taken},
		{"configuration in use", "error", absent, "ResourceInUse", "moto deletes a configuration in use"},
		{"request", of + "InstanceId", "<i>", absent, rushes},
		{"request", of + "State", "active", "open", rushes},
		{"request", of + "Status.*", anything, anything, rushes},
		{"request", of + "LaunchSpecification.Monitoring", "{}", absent, "AWS returns whether it is enabled"},
		{"request", of + "LaunchSpecification.Monitoring.Enabled", absent, "false", "AWS returns whether it is enabled"},
		{"request", of + "LaunchSpecification.SecurityGroups", absent, "[]", "ours resolves the groups only at launch"},
		{"request", of + "LaunchSpecification.SecurityGroups[0].*", anything, absent, "ours resolves the groups only at launch"},
	},
		rejected("unknown request", "InvalidSpotInstanceRequestID.NotFound", "moto returns an empty list"),
	)
}

func servicesDifferences() []difference {
	const unmanaged = "moto has AWS's policies only if it is told to load them"
	return slices.Concat([]difference{
		otherCode("attach", "NoSuchEntity", absent, unmanaged),
		otherCode("attach again", "NoSuchEntity", absent, unmanaged),
		otherCode("detach", "NoSuchEntity", absent, unmanaged),
		{"attached", "", "[]", absent, unmanaged},
		{"attached", "[0].*", absent, anything, unmanaged},
		{"key of EBS", "[4]", "CUSTOMER", "AWS", "moto treats AWS's key as one of the account"},
		otherCode("remove again", broken, "NoSuchEntity", "moto fails for a role that is not in the profile"),
	},
		rejected("assume nothing", "ValidationError", "moto assumes any role"),
		rejected("malformed role", "MalformedPolicyDocument", "moto does not parse the document"),
	)
}
