package ec2test

import "github.com/bakestone-go/bakestone/internal/ec2query"

type instanceIDInput struct {
	InstanceID string `ec2:"InstanceId,required"`
}

type templateDataOutput struct {
	Data dataXML `xml:"launchTemplateData"`
}

// instanceTemplate returns the data of a launch template for instances like an
// existing one.
func (c *call) instanceTemplate(in *instanceIDInput) (*templateDataOutput, *ec2query.Error) {
	i, err := lookup(c, &c.instances, instanceKind(), in.InstanceID)
	if err != nil {
		return nil, err
	}
	data := launchParams{
		ImageID: i.image.id, InstanceType: i.kind, KeyName: i.keyName, UserData: i.userData,
		EbsOptimized: &i.ebsOptimal, DisableAPITermination: &i.noTermination, InstanceInitiatedShutdownBehavior: i.shutdownBehavior,
		Monitoring: &enabledParam{i.monitoring}, MetadataOptions: &i.metadata,
		Placement: &placementParams{AvailabilityZone: i.subnet.zone, Tenancy: i.tenancy},
	}
	if data.Placement.Tenancy == "" {
		data.Placement.Tenancy = "default"
	}
	for _, v := range i.volumes {
		data.BlockDeviceMapping = append(data.BlockDeviceMapping, mapping{Device: v.device, EBS: &ebsParams{DeleteOnTermination: &v.deleteOnTermination}})
	}
	for index, nic := range i.interfaces {
		made := nicParams{DeviceIndex: &index, SubnetID: nic.subnet.id, Description: nic.description, DeleteOnTermination: &nic.deleteOnTermination}
		for _, g := range nic.groups {
			made.SecurityGroupID = append(made.SecurityGroupID, g.id)
		}
		if i.wantsIP {
			made.AssociatePublicIPAddress = &i.wantsIP
		}
		data.NetworkInterface = append(data.NetworkInterface, made)
	}
	if i.profile != "" {
		data.IamInstanceProfile = &profileParams{ARN: i.profile}
	}
	if i.spot {
		data.InstanceMarketOptions = &marketParams{MarketType: string(Spot)}
	}
	if list := i.tags.list(c.now); len(list) > 0 {
		spec := tagSpecification{ResourceType: instanceKind().resource}
		for _, tag := range list {
			if !isSystemTag(tag.Key) {
				spec.Tag = append(spec.Tag, tagParam{tag.Key, &tag.Value})
			}
		}
		data.TagSpecification = []tagSpecification{spec}
	}
	return &templateDataOutput{data.xml()}, nil
}
