package ec2test

import (
	"encoding/base64"
	"slices"

	"github.com/bakestone-go/bakestone/internal/ec2query"
)

// launchConfig is a launch configuration of Auto Scaling. It is immutable.
type launchConfig struct {
	base

	in createLaunchConfigInput
}

type createLaunchConfigInput struct {
	LaunchConfigurationName  string `ec2:"LaunchConfigurationName,required"`
	ImageID                  string `ec2:"ImageId,required"`
	InstanceType             string `ec2:"InstanceType,required"`
	KeyName                  string
	SecurityGroups           []string
	UserData                 []byte
	SpotPrice                string
	EbsOptimized             bool
	AssociatePublicIPAddress *bool  `ec2:"AssociatePublicIpAddress"`
	IAMInstanceProfile       string `ec2:"IamInstanceProfile"`
}

func (c *call) createLaunchConfig(in *createLaunchConfigInput) (*ec2query.Empty, *ec2query.Error) {
	name := in.LaunchConfigurationName
	if _, taken := byName(c, &c.launchConfigs, launchConfigPrefix, name); taken {
		return nil, ec2query.Errorf("AlreadyExists", "Launch Configuration by this name already exists - A launch configuration already exists with the name %s", name)
	}
	if _, err := c.usableImage(in.ImageID); err != nil {
		return nil, validationErrorf("%s", err.Message)
	}
	l := &launchConfig{base: c.newBase(kind{prefix: launchConfigPrefix}, nil), in: *in}
	l.id = namedID(launchConfigPrefix, c.account, c.name, name)
	c.launchConfigs.put(l)
	return &ec2query.Empty{}, nil
}

type launchConfigInput struct {
	LaunchConfigurationName string `ec2:"LaunchConfigurationName,required"`
}

func (c *call) deleteLaunchConfig(in *launchConfigInput) (*ec2query.Empty, *ec2query.Error) {
	l, ok := byName(c, &c.launchConfigs, launchConfigPrefix, in.LaunchConfigurationName)
	if !ok {
		return nil, validationErrorf("Launch configuration name not found - Launch configuration %s not found", in.LaunchConfigurationName)
	}
	for g := range c.scalingGroups.all() {
		if c.owns(&g.base) && g.set.LaunchConfigurationName == in.LaunchConfigurationName {
			return nil, ec2query.Errorf("ResourceInUse", "Cannot delete launch configuration %s because it is attached to AutoScalingGroup %s", in.LaunchConfigurationName, g.name)
		}
	}
	c.launchConfigs.remove(l.id)
	return &ec2query.Empty{}, nil
}

type launchConfigXML struct {
	Name      string                   `xml:"LaunchConfigurationName"`
	ARN       string                   `xml:"LaunchConfigurationARN"`
	Image     string                   `xml:"ImageId"`
	Type      string                   `xml:"InstanceType"`
	Key       string                   `xml:"KeyName"`
	Groups    ec2query.Members[string] `xml:"SecurityGroups"`
	UserData  string                   `xml:"UserData"`
	SpotPrice string                   `xml:"SpotPrice,omitempty"`
	EBS       bool                     `xml:"EbsOptimized"`
	PublicIP  *bool                    `xml:"AssociatePublicIpAddress,omitempty"`
	Profile   string                   `xml:"IamInstanceProfile,omitempty"`
	Created   string                   `xml:"CreatedTime"`
}

func (c *call) launchConfigXML(l *launchConfig) launchConfigXML {
	in := &l.in
	return launchConfigXML{
		Name: in.LaunchConfigurationName, Image: in.ImageID, Type: in.InstanceType, Key: in.KeyName,
		ARN:    "arn:aws:autoscaling:" + c.name + ":" + l.owner + ":launchConfiguration:" + l.id + ":launchConfigurationName/" + in.LaunchConfigurationName,
		Groups: ec2query.MembersOf(in.SecurityGroups...), UserData: base64.StdEncoding.EncodeToString(in.UserData), SpotPrice: in.SpotPrice,
		EBS: in.EbsOptimized, PublicIP: in.AssociatePublicIPAddress, Profile: in.IAMInstanceProfile, Created: ec2query.FormatTime(l.created),
	}
}

type describeLaunchConfigsInput struct {
	LaunchConfigurationNames []string
	recordsParams
}

type describeLaunchConfigsOutput struct {
	Configs ec2query.Members[launchConfigXML] `xml:"LaunchConfigurations"`
	Next    string                            `xml:"NextToken,omitempty"`
}

func (c *call) describeLaunchConfigs(in *describeLaunchConfigsInput) (*describeLaunchConfigsOutput, *ec2query.Error) {
	var found []*launchConfig
	names := in.LaunchConfigurationNames
	for l := range c.launchConfigs.all() {
		if c.owns(&l.base) && c.isVisible(&l.base) && (len(names) == 0 || slices.Contains(names, l.in.LaunchConfigurationName)) {
			found = append(found, l)
		}
	}
	items, next, err := page(c, found, in.page(), recordsLimits(), func(l *launchConfig) uint64 { return l.seq })
	return &describeLaunchConfigsOutput{ec2query.MapMembers(items, c.launchConfigXML), next}, err
}
