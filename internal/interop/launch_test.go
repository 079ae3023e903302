package interop_test

// templates is the life of a launch template.
func templates() []step {
	const (
		create   = "ec2 create-launch-template --launch-template-name web --launch-template-data "
		version  = "ec2 create-launch-template-version --launch-template-name web --source-version 1 --launch-template-data "
		versions = "ec2 describe-launch-template-versions --launch-template-id $template"
		unknown  = "lt-0123456789abcdef0"
	)
	return []step{
		does("base", "ec2 describe-images --owners "+canonical+" --filters Name=name,Values="+baseName+" --query Images[].ImageId").keeps("base", "[0]"),
		does("create", create+"ImageId=$base,InstanceType=t3.micro --version-description first --tag-specifications ResourceType=launch-template,Tags=[{Key=a,Value=b}]").
			keeps("template", "LaunchTemplate.LaunchTemplateId"),
		does("create again", create+"ImageId=$base"),
		does("templates", "ec2 describe-launch-templates --launch-template-names web"),
		does("templates by tag", "ec2 describe-launch-templates --filters Name=tag:a,Values=b --query LaunchTemplates[].LaunchTemplateName"),
		does("unknown", "ec2 describe-launch-templates --launch-template-ids "+unknown),
		does("unknown name", "ec2 describe-launch-templates --launch-template-names none"),
		does("version", version+"ImageId=$base,InstanceType=t3.small --version-description second"),
		does("version of nothing", "ec2 create-launch-template-version --launch-template-name none --launch-template-data ImageId=$base"),
		does("versions", versions),
		does("one version", versions+" --versions 1 --query LaunchTemplateVersions[].[VersionNumber,DefaultVersion]"),
		does("latest", versions+" --versions $$Latest --query LaunchTemplateVersions[].VersionNumber"),
		does("default", versions+" --versions $$Default --query LaunchTemplateVersions[].VersionNumber"),
		does("versions of nothing", "ec2 describe-launch-template-versions --launch-template-id "+unknown),
		does("make default", "ec2 modify-launch-template --launch-template-id $template --default-version 2"),
		does("default, changed", versions+" --versions $$Default --query LaunchTemplateVersions[].VersionNumber"),
		does("make nothing default", "ec2 modify-launch-template --launch-template-id $template --default-version 9"),
		does("run", "ec2 run-instances --launch-template LaunchTemplateId=$template --query Instances[].[ImageId,InstanceType]"),
		does("run a version", "ec2 run-instances --launch-template LaunchTemplateName=web,Version=1 --query Instances[].[ImageId,InstanceType]"),
		does("run nothing", "ec2 run-instances --launch-template LaunchTemplateName=none"),
		does("delete", "ec2 delete-launch-template --launch-template-name web"),
		does("delete again", "ec2 delete-launch-template --launch-template-id $template"),
		does("deleted", "ec2 describe-launch-templates"),
	}
}

// requests is capacity that is asked for: spot instances, fleets, and Auto
// Scaling groups.
func requests() []step {
	const (
		spot  = "ec2 describe-spot-instance-requests --spot-instance-request-ids $request --query SpotInstanceRequests[].[State,Type,LaunchSpecification.ImageId]"
		group = "autoscaling create-auto-scaling-group --min-size 0 --max-size 0 --availability-zones us-east-1a "
		names = " --query AutoScalingGroups[].[AutoScalingGroupName,LaunchConfigurationName,MinSize,MaxSize,DesiredCapacity,Instances]"
	)
	return []step{
		does("base", "ec2 describe-images --owners "+canonical+" --filters Name=name,Values="+baseName+" --query Images[].ImageId").keeps("base", "[0]"),
		does("run", "ec2 run-instances --image-id $base --instance-type t3.micro --instance-market-options MarketType=spot "+
			"--query Instances[].[InstanceId,InstanceLifecycle]").keeps("instance", "[0][0]"),
		does("unknown request", "ec2 describe-spot-instance-requests --spot-instance-request-ids sir-0123456789abcdef0"),
		does("terminate", "ec2 terminate-instances --instance-ids $instance --query TerminatingInstances[].InstanceId"),
		does("request nothing", "ec2 request-spot-instances --launch-specification InstanceType=t3.micro,ImageId=ami-0123456789abcdef0"),

		does("template", "ec2 create-launch-template --launch-template-name many --launch-template-data ImageId=$base,InstanceType=t3.micro --query LaunchTemplate.LaunchTemplateName"),
		does("fleet", "ec2 create-fleet --type maintain --target-capacity-specification TotalTargetCapacity=0,DefaultTargetCapacityType=spot "+
			"--launch-template-configs LaunchTemplateSpecification={LaunchTemplateName=many,Version=1}").keeps("fleet", "FleetId"),
		does("fleets", "ec2 describe-fleets --fleet-ids $fleet --query Fleets[].[FleetId,FleetState,Type]"),
		does("delete fleet", "ec2 delete-fleets --fleet-ids $fleet --terminate-instances"),

		does("configuration", "autoscaling create-launch-configuration --launch-configuration-name old --image-id $base --instance-type t3.micro"),
		does("configuration again", "autoscaling create-launch-configuration --launch-configuration-name old --image-id $base --instance-type t3.micro"),
		does("configurations", "autoscaling describe-launch-configurations --launch-configuration-names old "+
			"--query LaunchConfigurations[].[LaunchConfigurationName,ImageId,InstanceType,SecurityGroups,EbsOptimized]"),
		does("group", group+"--auto-scaling-group-name web --launch-configuration-name old"),
		does("group again", group+"--auto-scaling-group-name web --launch-configuration-name old"),
		does("group of a template", group+"--auto-scaling-group-name new --launch-template LaunchTemplateName=many,Version=$$Latest"),
		does("groups", "autoscaling describe-auto-scaling-groups"+names),
		does("one group", "autoscaling describe-auto-scaling-groups --auto-scaling-group-names new --query AutoScalingGroups[].LaunchTemplate.[LaunchTemplateName,Version]"),
		does("no group", "autoscaling describe-auto-scaling-groups --auto-scaling-group-names none"),
		does("configuration in use", "autoscaling delete-launch-configuration --launch-configuration-name old"),
		does("update nothing", "autoscaling update-auto-scaling-group --auto-scaling-group-name none --max-size 1"),
		does("delete group", "autoscaling delete-auto-scaling-group --auto-scaling-group-name web --force-delete"),
		does("delete group of a template", "autoscaling delete-auto-scaling-group --auto-scaling-group-name new"),
		does("delete configuration", "autoscaling delete-launch-configuration --launch-configuration-name old"),
		does("delete template", "ec2 delete-launch-template --launch-template-name many --query LaunchTemplate.LaunchTemplateName"),
		step{name: "request", args: []string{
			"ec2", "request-spot-instances", "--spot-price", "0.5", "--launch-specification", "InstanceType=t3.micro,ImageId=$base",
		}}.keeps("request", "SpotInstanceRequests[0].SpotInstanceRequestId"),
		does("requested", spot),
		does("cancel", "ec2 cancel-spot-instance-requests --spot-instance-request-ids $request"),
		does("cancel nothing", "ec2 cancel-spot-instance-requests --spot-instance-request-ids sir-0123456789abcdef0"),
		does("fleet of nothing", "ec2 create-fleet --target-capacity-specification TotalTargetCapacity=0 "+
			"--launch-template-configs LaunchTemplateSpecification={LaunchTemplateName=none,Version=1}"),
	}
}
