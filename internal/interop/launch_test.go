package interop_test

// templates covers the lifecycle of a launch template.
func templates() []step {
	const (
		create   = "ec2 create-launch-template --launch-template-name web --launch-template-data "
		version  = "ec2 create-launch-template-version --launch-template-name web --source-version 1 --launch-template-data "
		versions = "ec2 describe-launch-template-versions --launch-template-id $template"
		unknown  = "lt-0123456789abcdef0"
	)
	return []step{
		run("base", "ec2 describe-images --owners "+canonical+" --filters Name=name,Values="+baseName+" --query Images[].ImageId").save("base", "[0]"),
		run("create", create+"ImageId=$base,InstanceType=t3.micro --version-description first --tag-specifications ResourceType=launch-template,Tags=[{Key=a,Value=b}]").
			save("template", "LaunchTemplate.LaunchTemplateId"),
		run("create again", create+"ImageId=$base"),
		run("templates", "ec2 describe-launch-templates --launch-template-names web"),
		run("templates by tag", "ec2 describe-launch-templates --filters Name=tag:a,Values=b --query LaunchTemplates[].LaunchTemplateName"),
		run("unknown", "ec2 describe-launch-templates --launch-template-ids "+unknown),
		run("unknown name", "ec2 describe-launch-templates --launch-template-names none"),
		run("version", version+"ImageId=$base,InstanceType=t3.small --version-description second"),
		run("version of nothing", "ec2 create-launch-template-version --launch-template-name none --launch-template-data ImageId=$base"),
		run("versions", versions),
		run("one version", versions+" --versions 1 --query LaunchTemplateVersions[].[VersionNumber,DefaultVersion]"),
		run("latest", versions+" --versions $$Latest --query LaunchTemplateVersions[].VersionNumber"),
		run("default", versions+" --versions $$Default --query LaunchTemplateVersions[].VersionNumber"),
		run("versions of nothing", "ec2 describe-launch-template-versions --launch-template-id "+unknown),
		run("make default", "ec2 modify-launch-template --launch-template-id $template --default-version 2"),
		run("default, changed", versions+" --versions $$Default --query LaunchTemplateVersions[].VersionNumber"),
		run("make nothing default", "ec2 modify-launch-template --launch-template-id $template --default-version 9"),
		run("run", "ec2 run-instances --launch-template LaunchTemplateId=$template --query Instances[].[ImageId,InstanceType]"),
		run("run a version", "ec2 run-instances --launch-template LaunchTemplateName=web,Version=1 --query Instances[].[ImageId,InstanceType]"),
		run("run nothing", "ec2 run-instances --launch-template LaunchTemplateName=none"),
		run("delete", "ec2 delete-launch-template --launch-template-name web"),
		run("delete again", "ec2 delete-launch-template --launch-template-id $template"),
		run("deleted", "ec2 describe-launch-templates"),
	}
}

// requests covers spot instances, fleets and Auto Scaling groups.
func requests() []step {
	const (
		spot  = "ec2 describe-spot-instance-requests --spot-instance-request-ids $request --query SpotInstanceRequests[].[State,Type,LaunchSpecification.ImageId]"
		group = "autoscaling create-auto-scaling-group --min-size 0 --max-size 0 --availability-zones us-east-1a "
		names = " --query AutoScalingGroups[].[AutoScalingGroupName,LaunchConfigurationName,MinSize,MaxSize,DesiredCapacity,Instances]"
	)
	return []step{
		run("base", "ec2 describe-images --owners "+canonical+" --filters Name=name,Values="+baseName+" --query Images[].ImageId").save("base", "[0]"),
		run("run", "ec2 run-instances --image-id $base --instance-type t3.micro --instance-market-options MarketType=spot "+
			"--query Instances[].[InstanceId,InstanceLifecycle]").save("instance", "[0][0]"),
		run("unknown request", "ec2 describe-spot-instance-requests --spot-instance-request-ids sir-0123456789abcdef0"),
		run("terminate", "ec2 terminate-instances --instance-ids $instance --query TerminatingInstances[].InstanceId"),
		run("request nothing", "ec2 request-spot-instances --launch-specification InstanceType=t3.micro,ImageId=ami-0123456789abcdef0"),

		run("template", "ec2 create-launch-template --launch-template-name many --launch-template-data ImageId=$base,InstanceType=t3.micro --query LaunchTemplate.LaunchTemplateName"),
		run("fleet", "ec2 create-fleet --type maintain --target-capacity-specification TotalTargetCapacity=0,DefaultTargetCapacityType=spot "+
			"--launch-template-configs LaunchTemplateSpecification={LaunchTemplateName=many,Version=1}").save("fleet", "FleetId"),
		run("fleets", "ec2 describe-fleets --fleet-ids $fleet --query Fleets[].[FleetId,FleetState,Type]"),
		run("delete fleet", "ec2 delete-fleets --fleet-ids $fleet --terminate-instances"),

		run("configuration", "autoscaling create-launch-configuration --launch-configuration-name old --image-id $base --instance-type t3.micro"),
		run("configuration again", "autoscaling create-launch-configuration --launch-configuration-name old --image-id $base --instance-type t3.micro"),
		run("configurations", "autoscaling describe-launch-configurations --launch-configuration-names old "+
			"--query LaunchConfigurations[].[LaunchConfigurationName,ImageId,InstanceType,SecurityGroups,EbsOptimized]"),
		run("group", group+"--auto-scaling-group-name web --launch-configuration-name old"),
		run("group again", group+"--auto-scaling-group-name web --launch-configuration-name old"),
		run("group of a template", group+"--auto-scaling-group-name new --launch-template LaunchTemplateName=many,Version=$$Latest"),
		run("groups", "autoscaling describe-auto-scaling-groups"+names),
		run("one group", "autoscaling describe-auto-scaling-groups --auto-scaling-group-names new --query AutoScalingGroups[].LaunchTemplate.[LaunchTemplateName,Version]"),
		run("no group", "autoscaling describe-auto-scaling-groups --auto-scaling-group-names none"),
		run("configuration in use", "autoscaling delete-launch-configuration --launch-configuration-name old"),
		run("update nothing", "autoscaling update-auto-scaling-group --auto-scaling-group-name none --max-size 1"),
		run("delete group", "autoscaling delete-auto-scaling-group --auto-scaling-group-name web --force-delete"),
		run("delete group of a template", "autoscaling delete-auto-scaling-group --auto-scaling-group-name new"),
		run("delete configuration", "autoscaling delete-launch-configuration --launch-configuration-name old"),
		run("delete template", "ec2 delete-launch-template --launch-template-name many --query LaunchTemplate.LaunchTemplateName"),
		step{name: "request", args: []string{
			"ec2", "request-spot-instances", "--spot-price", "0.5", "--launch-specification", "InstanceType=t3.micro,ImageId=$base",
		}}.save("request", "SpotInstanceRequests[0].SpotInstanceRequestId"),
		run("requested", spot),
		run("cancel", "ec2 cancel-spot-instance-requests --spot-instance-request-ids $request"),
		run("cancel nothing", "ec2 cancel-spot-instance-requests --spot-instance-request-ids sir-0123456789abcdef0"),
		run("fleet of nothing", "ec2 create-fleet --target-capacity-specification TotalTargetCapacity=0 "+
			"--launch-template-configs LaunchTemplateSpecification={LaunchTemplateName=none,Version=1}"),
	}
}
